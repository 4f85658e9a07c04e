import path from 'node:path';
import type { AllOf } from './all-of.ts';
import { Glob } from './glob.ts';
import { commandsOfScript, splitPlainCommand } from './shell-words.ts';

/** Folders that are the system's own: nobody inside a sandbox can put a program there. */
const SYSTEM_FOLDERS: ReadonlySet<string> = new Set([
  '/usr/local/bin',
  '/usr/bin',
  '/bin',
  '/usr/local/sbin',
  '/usr/sbin',
  '/sbin',
  '/opt/node/bin',
]);
/** Where programs are looked for on behalf of callers that may run only some of them. */
export const SYSTEM_PATH = [...SYSTEM_FOLDERS].join(':');
const SHELL = '/bin/sh';
/** Programs that run what their arguments say: what counts is what they run. */
const RUNNERS = new Set([
  'env',
  'exec',
  'command',
  'builtin',
  'nohup',
  'nice',
  'time',
  'timeout',
  'setsid',
  'stdbuf',
  'xargs',
  'busybox',
  'toybox',
]);
const SHELLS = new Set(['sh', 'bash', 'dash', 'zsh', 'ksh', 'ash']);
/** Scripts within scripts are looked into so deep. */
const MAX_DEPTH = 4;

const MAX_OPTIONS = 64;
const MAX_CACHED = 4096;

/** The same few rules are asked for at every command. */
function remembered<Value>(parse: (text: string) => Value): (text: string) => Value {
  const known = new Map<string, Value>();
  return (text) => {
    if (known.size > MAX_CACHED) known.clear();
    return known.getOrInsertComputed(text, parse);
  };
}

/** A rule is the beginning of an argv: `git status` stands for that program with that first argument and whatever follows. */
export const parseCommandRule: (text: string) => readonly string[] | null = remembered((text) =>
  text === '*' ? ['*'] : splitPlainCommand(text),
);

/** Blocked commands may have patterns in the program's name, and a last word that ends in `=` stands for all its values. */
export const parseBlockedCommand: (text: string) => BlockedCommand | null = remembered((text) => {
  const [program = '', ...args] = text.trim().split(/[ \t]+/);
  if (program === '') return null;
  const isPath = program.includes('/');
  return { isPath, program: new Glob(isPath ? program : `/${program}`, false), args };
});

interface BlockedCommand {
  readonly isPath: boolean;
  readonly program: Glob;
  readonly args: readonly string[];
}

/** A program by its name alone is the system's of that name; by its path it is that file. */
function isProgram(rule: string, program: string): boolean {
  if (rule.includes('/')) return path.posix.normalize(program) === path.posix.normalize(rule);
  if (!program.includes('/')) return program === rule;
  const normal = path.posix.normalize(program);
  return path.posix.basename(normal) === rule && SYSTEM_FOLDERS.has(path.posix.dirname(normal));
}

function startsAs(rule: string, argv: readonly string[]): boolean {
  const words = parseCommandRule(rule);
  if (words === null) return false;
  const [program = '', ...args] = words;
  if (program === '*') return true;
  return isProgram(program, argv[0] ?? '') && args.every((word, index) => argv[index + 1] === word);
}

function isBlockedBy(rule: string, argv: readonly string[]): boolean {
  const parsed = parseBlockedCommand(rule);
  if (parsed === null) return false;
  const { isPath, program, args } = parsed;
  const [name = ''] = argv;
  if (!program.matches(isPath ? path.posix.normalize(name) : `/${path.posix.basename(name)}`)) return false;
  return args.every((word, index) => {
    const given = argv[index + 1] ?? '';
    return given === word || (word.endsWith('=') && index === args.length - 1 && given.startsWith(word));
  });
}

/** Which rule of the block-list a command meets, also where another program or a shell would run it; null = none. */
function blockedBy(argv: readonly string[], blocked: readonly string[], depth = 0): string | null {
  const rule = blocked.find((each) => isBlockedBy(each, argv));
  if (rule !== undefined) return `command.blocked:${rule}`;
  if (depth === MAX_DEPTH) return 'command.unclear';
  const program = path.posix.basename(argv[0] ?? '');
  if (program === 'eval') return 'command.unclear';
  if (RUNNERS.has(program)) {
    // Where its options end is its own affair: whichever word begins the command, it must not be a blocked one.
    for (let at = 1; at < argv.length; at += 1) {
      const found = blockedBy(argv.slice(at), blocked, depth + 1);
      if (found !== null) return found;
      if (!/^-|=|^\d/.test(argv[at] as string)) break;
      if (at === MAX_OPTIONS) return 'command.unclear';
    }
    return null;
  }
  if (!SHELLS.has(program)) return null;
  const flag = argv.findIndex((word, index) => index > 0 && /^-[a-z]*c/.test(word));
  return flag < 0 ? null : blockedInScript(argv[flag + 1] ?? '', blocked, depth + 1);
}

function blockedInScript(script: string, blocked: readonly string[], depth: number): string | null {
  const commands = commandsOfScript(script);
  if (commands === null) return 'command.unclear';
  for (const argv of commands) {
    const found = blockedBy(argv, blocked, depth);
    if (found !== null) return found;
  }
  return null;
}

export interface CommandRequest {
  readonly command?: string | null | undefined;
  readonly argv?: readonly string[] | null | undefined;
}

export interface CommandDecision {
  /** null = nothing stands against it. */
  readonly refusal: string | null;
  /** What is run; empty where nothing is named. */
  readonly argv: readonly string[];
}

/**
 * What a request would run, and which rule keeps a caller from it. A command line goes to a shell where every command or the
 * shell is granted; else it is split, and run without one, if it means the same then.
 */
export function decideCommand(
  { command, argv }: CommandRequest,
  allowed: AllOf,
  blocked: readonly string[],
): CommandDecision {
  if (argv !== null && argv !== undefined) return decideArgv(argv, allowed, blocked);
  if (command === null || command === undefined || command === '') return { refusal: null, argv: [] };
  const shell = decideArgv([SHELL, '-c', command], allowed, blocked);
  if (shell.refusal === null || allowed.length === 0) return shell;
  const words = splitPlainCommand(command);
  if (words === null) return { refusal: 'command.needs-shell', argv: [] };
  return decideArgv(words, allowed, blocked);
}

function decideArgv(argv: readonly string[], allowed: AllOf, blocked: readonly string[]): CommandDecision {
  if (blocked.length > 0) {
    const refusal = blockedBy(argv, blocked);
    if (refusal !== null) return { refusal, argv };
  }
  const isAllowed = allowed.every((list) => list.some((rule) => startsAs(rule, argv)));
  return { refusal: isAllowed ? null : `command.not-granted:${path.posix.basename(argv[0] ?? '')}`, argv };
}

export function isCommandWithin(a: string, b: string): boolean {
  if (b === '*') return true;
  const inner = parseCommandRule(a);
  return inner !== null && inner[0] !== '*' && startsAs(b, inner);
}

/** A blocked rule within another: whatever meets `a` meets `b`. */
export function isBlockedWithin(a: string, b: string): boolean {
  return a === b || (!/[*?=]/.test(a) && isBlockedBy(b, a.trim().split(/[ \t]+/)));
}
