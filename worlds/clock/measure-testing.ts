// Shared by tests of mounted clocks: programs that say how long something took in their own time and really.
import { expect } from 'vitest';

/** Python that prints virtual and real seconds of what it does: `measure(callable)`. */
const MEASURE = `
import socket, sys, threading, time
def really():
    return float(open("/proc/uptime").read().split()[0])
def measure(body):
    # The real span encloses the other: whoever is held up between two readings makes it longer, never shorter.
    real = really()
    virtual = time.monotonic()
    body()
    virtual = time.monotonic() - virtual
    print(virtual, really() - real, flush=True)
`;
export const python = (program: string): string[] => ['python3', '-c', MEASURE + program];

/** Lines of `measure` as numbers. */
export function measured(stdout: string): { virtualS: number; realS: number }[] {
  return stdout
    .trim()
    .split('\n')
    .filter((line) => /^[\d.e-]+ [\d.e-]+$/.test(line))
    .map((line) => {
      const [virtualS = 0, realS = 0] = line.split(' ').map(Number);
      return { virtualS, realS };
    });
}

/** Exact but for the real time that passed, and a tick of /proc/uptime. */
export function expectTook(
  { virtualS, realS }: { virtualS: number; realS: number },
  expectedS: number,
): void {
  expect(virtualS).toBeGreaterThanOrEqual(expectedS);
  expect(virtualS).toBeLessThanOrEqual(expectedS + realS + 0.07);
}
