import type { IFileSystem } from 'just-bash';
import { parseDate } from './date.ts';

export interface TouchResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

export interface TouchPlace {
  readonly fs: IFileSystem;
  readonly cwd: string;
  /** The time that members are told. */
  readonly nowMs: number;
}

/** `-t [[CC]YY]MMDDhhmm[.ss]` */
const STAMP = /^((?:\d\d)?\d\d)?(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d\d))?$/;
const VALUED: Readonly<Record<string, string>> = {
  '--date': 'd',
  '--reference': 'r',
};
const PLAIN: Readonly<Record<string, string>> = { '--no-create': 'c' };

/** `touch` in a world’s time; the shell’s own gives files the host’s, and overlooks `-r` and `-t`. */
export async function runTouch(args: readonly string[], place: TouchPlace): Promise<TouchResult> {
  const asked = parsed(args);
  if (typeof asked === 'string') return failure(asked);
  const { files, flags, values } = asked;
  if (files.length === 0) return failure('touch: missing file operand');
  const time = await timeOf(values, place);
  if (typeof time === 'string') return failure(time);
  const at = new Date(time);
  let stderr = '';
  for (const file of files) {
    try {
      const full = place.fs.resolvePath(place.cwd, file);
      if (!(await place.fs.exists(full))) {
        if (flags.has('c')) continue;
        await place.fs.writeFile(full, '');
      }
      // Files of a world have one time: with -a, which is the other, this one stays.
      if (!flags.has('a') || flags.has('m')) await place.fs.utimes(full, at, at);
    } catch (error) {
      stderr += `touch: cannot touch '${file}': ${words(error)}\n`;
    }
  }
  return { stdout: '', stderr, exitCode: stderr === '' ? 0 : 1 };
}

interface Asked {
  readonly files: readonly string[];
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
}

/** A text = why not. */
function parsed(args: readonly string[]): Asked | string {
  const files: string[] = [];
  const flags = new Set<string>();
  const values = new Map<string, string>();
  for (let index = 0; index < args.length; index += 1) {
    const arg = args[index] as string;
    if (arg === '--') {
      files.push(...args.slice(index + 1));
      break;
    }
    if (!arg.startsWith('-') || arg === '-') {
      files.push(arg);
      continue;
    }
    let [names, value]: readonly (string | undefined)[] = [arg.slice(1), undefined];
    if (arg.startsWith('--')) {
      const [name = '', inline] = arg.split(/=(.*)/s);
      names = VALUED[name] ?? PLAIN[name];
      if (names === undefined) return `touch: unrecognized option '${arg}'`;
      value = inline;
    }
    for (let at = 0; at < (names as string).length; at += 1) {
      const name = (names as string)[at] as string;
      if ('acm'.includes(name)) flags.add(name);
      else if ('drt'.includes(name)) {
        const rest = value ?? (names as string).slice(at + 1);
        const given = rest === '' && value === undefined ? args[++index] : rest;
        if (given === undefined) return `touch: option requires an argument -- '${name}'`;
        values.set(name, given);
        break;
      } else return `touch: invalid option -- '${name}'`;
    }
  }
  return { files, flags, values };
}

/** ms since the epoch, or why not. */
async function timeOf(values: Asked['values'], { fs, cwd, nowMs }: TouchPlace): Promise<number | string> {
  const [date, stamp, reference] = [values.get('d'), values.get('t'), values.get('r')];
  let from = nowMs;
  if (reference !== undefined) {
    try {
      from = (await fs.stat(fs.resolvePath(cwd, reference))).mtime.getTime();
    } catch (error) {
      return `touch: failed to get attributes of '${reference}': ${words(error)}`;
    }
  }
  if (stamp !== undefined) return stamped(stamp, nowMs) ?? `touch: invalid date format '${stamp}'`;
  return date === undefined ? from : (parseDate(date, from) ?? `touch: invalid date format '${date}'`);
}

function stamped(text: string, nowMs: number): number | null {
  const match = STAMP.exec(text);
  if (match === null) return null;
  const [, named, month, day, hour, minute, second = '0'] = match;
  let year = named === undefined ? new Date(nowMs).getUTCFullYear() : Number(named);
  if (named?.length === 2) year += year < 69 ? 2000 : 1900;
  const at = Date.UTC(year, Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
  const same = new Date(at)
    .toISOString()
    .startsWith(`${String(year).padStart(4, '0')}-${month}-${day}T${hour}:${minute}`);
  return same ? at : null;
}

/** What the shell’s other commands say of such an error. */
function words(error: unknown): string {
  const said = /^E[A-Z]+: (.*?)(?:, '.*')?$/s.exec((error as Error).message)?.[1];
  return said === undefined ? (error as Error).message : said.charAt(0).toUpperCase() + said.slice(1);
}

function failure(message: string): TouchResult {
  return { stdout: '', stderr: `${message}\n`, exitCode: 1 };
}
