import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';

/**
 * vega and its expression interpreter as one classic script that sets `vega` and `vegaInterpreter`. With the
 * interpreter, charts need no eval; without vega-lite, half the bytes: specs are compiled before they are shipped.
 */
export async function chartLibrary(): Promise<string> {
  const require = createRequire(import.meta.url);
  const vegaFolder = path.dirname(require.resolve('vega'));
  const [vega, interpreter] = await Promise.all([
    readFile(path.join(vegaFolder, 'vega.min.js'), 'utf8'),
    readFile(require.resolve('vega-interpreter'), 'utf8'),
  ]);
  return `${withoutSourceMap(vega)}\n${asClassicScript(interpreter)}`;
}

function withoutSourceMap(source: string): string {
  return source.replace(/\n\/\/# sourceMappingURL=\S+\s*$/, '\n');
}

const IMPORT = /^import \{ ([\w, ]+) \} from 'vega-util';$/m;
const EXPORT = /^export \{ (\w+) as expressionInterpreter \};$/m;

/** The interpreter comes as one ES module with one import (which vega re-exports) and one export. */
export function asClassicScript(source: string): string {
  const imported = IMPORT.exec(source);
  const exported = EXPORT.exec(source);
  const script = withoutSourceMap(source)
    .replace(IMPORT, `const { ${imported?.[1]} } = vega;`)
    .replace(EXPORT, `globalThis.vegaInterpreter = ${exported?.[1]};`);
  if (imported === null || exported === null || /^(?:import|export)\b/m.test(script)) {
    throw new CloveError('INTERNAL', 'vega-interpreter no longer has the form the report expects', {
      hint: 'Install the version named in package.json.',
    });
  }
  return `(()=>{${script}})();`;
}
