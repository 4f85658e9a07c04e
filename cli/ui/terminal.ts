import { styleText } from 'node:util';
import stringWidth from 'string-width';

export type ProgressMode = 'tty' | 'plain' | 'quiet' | 'json';

/** Where a command writes: data on stdout, everything about its progress on stderr. */
export class Terminal {
  readonly progress: ProgressMode;
  readonly verbose: boolean;
  readonly colour: boolean;
  #liveLines = 0;

  constructor(options: { progress: ProgressMode | 'auto'; verbose: boolean; colour: boolean }) {
    const interactive = process.stderr.isTTY === true && process.env.TERM !== 'dumb' && !process.env.CI;
    this.progress = options.progress === 'auto' ? (interactive ? 'tty' : 'plain') : options.progress;
    this.verbose = options.verbose;
    this.colour = options.colour;
  }

  /** Data: the answer to the command. */
  out(text: string): void {
    process.stdout.write(`${text}\n`);
  }

  /** A line about what happens; kept on screen above the live region. */
  note(text: string): void {
    if (this.progress === 'quiet') return;
    if (this.progress === 'json') this.event({ type: 'note', text });
    else this.#line(text);
  }

  /** Something that must be seen even with --quiet. */
  warn(text: string): void {
    if (this.progress === 'json') this.event({ type: 'warning', text });
    else this.#line(`${this.style('yellow', 'warning:')} ${text}`);
  }

  /** One NDJSON line on stderr in --progress=json. */
  event(record: Readonly<Record<string, unknown>>): void {
    if (this.progress === 'json') process.stderr.write(`${JSON.stringify(record)}\n`);
  }

  /** Replaces the live region; only on a terminal. */
  live(lines: readonly string[]): void {
    if (this.progress !== 'tty') return;
    this.#clearLive();
    const width = Math.max(20, (process.stderr.columns ?? 80) - 1);
    const clipped = lines.map((line) => clip(line, width));
    process.stderr.write(clipped.map((line) => `${line}\n`).join(''));
    this.#liveLines = clipped.length;
  }

  endLive(): void {
    this.#clearLive();
  }

  style(format: Parameters<typeof styleText>[0], text: string): string {
    return this.colour ? styleText(format, text, { validateStream: false }) : text;
  }

  #line(text: string): void {
    this.#clearLive();
    process.stderr.write(`${text}\n`);
  }

  #clearLive(): void {
    if (this.#liveLines === 0) return;
    process.stderr.write(`\u001b[${this.#liveLines}A\u001b[0J`);
    this.#liveLines = 0;
  }
}

/** Cuts a line to a width in columns; styling is dropped from a line that has to be cut. */
function clip(line: string, width: number): string {
  if (stringWidth(line) <= width) return line;
  let shown = '';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: removes our own styling
  for (const character of line.replace(/\u001b\[[0-9;]*m/g, '')) {
    if (stringWidth(shown + character) >= width) break;
    shown += character;
  }
  return `${shown}…`;
}

/** NO_COLOR, FORCE_COLOR, --no-color, dumb terminals. */
export function wantsColour(flag: boolean | undefined, stream: NodeJS.WriteStream): boolean {
  if (flag === false || process.env.NO_COLOR) return false;
  if (process.env.FORCE_COLOR && process.env.FORCE_COLOR !== '0') return true;
  return stream.isTTY === true && process.env.TERM !== 'dumb';
}
