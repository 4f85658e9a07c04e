import { Readable } from 'node:stream';
import { CloveError } from '../../../errors/index.ts';
import type { Comparison, Difference } from '../../../worlds/verify/index.ts';
import { escapeText } from '../../ui/escape.ts';
import type { Terminal } from '../../ui/terminal.ts';

const MAX_INPUT_BYTES = 64 * 2 ** 20;
const PATCH_LINES = 40;

/** The same standard input for each run. @throws USAGE (more than can be kept) */
export async function inputForEach(from: NodeJS.ReadableStream | null): Promise<() => Readable | null> {
  if (from === null) return () => null;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of from) {
    chunks.push(Buffer.from(chunk));
    bytes += chunk.length;
    if (bytes > MAX_INPUT_BYTES)
      throw new CloveError('USAGE', `--verify: the standard input is longer than ${MAX_INPUT_BYTES} bytes`);
  }
  return () => Readable.from(chunks);
}

/** On stderr, with both sides of what is first; stdout is the command's. */
export function tellComparison(terminal: Terminal, comparison: Comparison): void {
  const { identical, differences, exact, compared } = comparison;
  const how = exact
    ? 'in one order and with their times'
    : 'in the order of each source, without times: only strict and step claim more';
  const what = `${compared.events} events (${how}), output, ${compared.files} files, ${compared.stateKeys} values of state`;
  if (identical) {
    terminal.note(`verify: two runs, no difference: ${what}`);
    return;
  }
  const [first, ...others] = differences as [Difference, ...Difference[]];
  const lines = [`verify: the two runs differ, first in ${first.where}`, ...sides(first)];
  if (others.length > 0)
    lines.push(
      `also: ${others.map(({ aspect, where }) => `${aspect} from ${escapeText(where)} on`).join('; ')}`,
    );
  lines.push(`compared: ${what}`);
  terminal.warn(lines.join('\n  '));
}

function sides({ first, second, patch }: Difference): string[] {
  if (patch !== undefined) {
    const lines = patch.split('\n').slice(0, PATCH_LINES);
    return [...lines.map(escapeText), ...(lines.length === PATCH_LINES ? ['…'] : [])];
  }
  const shown = (text: string | null) => (text === null ? '(nothing)' : escapeText(text));
  return [`first run:  ${shown(first)}`, `second run: ${shown(second)}`];
}
