// For the tests of each layer alone: all others are taken away, and its attack must still fail. Each attack is first tried with
// that layer taken away too, and must work: so that each of these tests would fail if its layer did nothing.
import { expect } from 'vitest';
import { LAYERS, type Layer } from './index.ts';
import { type Outcome, runToEnd, type SpecChanges } from './sandbox-testing.ts';

export const isRoot = process.geteuid?.() === 0;

/** What supervises, and cannot be left out. */
const NEVER_TAKEN_AWAY: readonly Layer[] = ['freeze', 'kill'];
export const without = (...kept: Layer[]): Layer[] =>
  LAYERS.filter((layer) => !NEVER_TAKEN_AWAY.includes(layer) && !kept.includes(layer));

/**
 * What most attacks begin with. They do no harm where the layer is away: nothing is written that is not theirs, no name of
 * the host is set, nothing is mounted but in a mount namespace of their own.
 */
export const PRELUDE = `
import ctypes, errno, json, os, resource, signal, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def attempt(work):
    try: work()
    except OSError as e: return errno.errorcode[e.errno]
    return 'done'
def call(function, *arguments):
    ctypes.set_errno(0)
    return errno.errorcode[ctypes.get_errno()] if function(*arguments) == -1 else 'done'
def opened(path, flags=os.O_RDONLY): return attempt(lambda: os.close(os.open(path, flags)))
def tell(*answer): print(json.dumps(answer), flush=True)
`;

export interface Alone {
  /** Layers without which this one cannot be. */
  readonly needs?: readonly Layer[];
  readonly source: string;
  readonly changes?: SpecChanges;
  /** What the attack says where nothing stops it. */
  readonly open: readonly unknown[];
  readonly held: readonly unknown[];
}

export async function outcome(
  source: string,
  disable: readonly Layer[],
  changes: SpecChanges = {},
): Promise<Outcome> {
  return runToEnd(['/usr/bin/python3', '-I', '-c', PRELUDE + source], { cwd: '/tmp', disable, ...changes });
}

export async function told(
  source: string,
  disable: readonly Layer[],
  changes?: SpecChanges,
): Promise<unknown> {
  const { stdout, stderr } = await outcome(source, disable, changes);
  try {
    return JSON.parse(stdout);
  } catch {
    throw new Error(`the attack said ${stdout} ${stderr}`);
  }
}

/** The attack with nothing but what the layer needs, and with the layer as well. */
export async function alone(layer: Layer, { needs = [], source, changes, open, held }: Alone): Promise<void> {
  expect(await told(source, without(...needs), changes), `without ${layer}`).toEqual(open);
  expect(await told(source, without(...needs, layer), changes), `with ${layer} alone`).toEqual(held);
}
