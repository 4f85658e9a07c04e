/** Builds dist/ for the published package: Node does not run TypeScript inside node_modules. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, globSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';

const root = path.dirname(import.meta.dirname);
const compiler = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
// A folder that only ran Clove has what that needs, not what building needs.
const { devDependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  devDependencies: Record<string, string>;
};
const missing = Object.keys(devDependencies).filter(
  (name) => !existsSync(path.join(root, 'node_modules', name, 'package.json')),
);
if (missing.length > 0) {
  console.error(`build: not installed: ${missing.join(', ')}; run \`npm ci\` first, then this again`);
  process.exit(1);
}
rmSync(path.join(root, 'dist'), { recursive: true, force: true });
const compiled = spawnSync(process.execPath, [compiler, '-p', path.join(root, 'tsconfig.build.json')], {
  stdio: 'inherit',
});
if (compiled.status !== 0) process.exit(compiled.status ?? 1);

// What the code reads at run time besides modules.
const assets = globSync(
  [
    'scenarios/**/*.{json,md,py}',
    'bench/worker/**/*.py',
    'reports/**/*.{css,svg}',
    'kernel/**/*.sql',
    'sdk/typescript/**/*.md',
  ],
  { cwd: root },
);
for (const asset of assets) {
  if (asset.includes(`golden${path.sep}`)) continue;
  cpSync(path.join(root, asset), path.join(root, 'dist', asset));
}
console.error(`build: dist/ written, ${assets.length} assets copied`);
