import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** For every line it reads, it does what is measured and writes how many microseconds that took. */
const MAIN = `
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static long NowUs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

int main(int count, char** arguments) {
  char byte;
  if (!Begin(count, arguments)) return 1;
  while (read(0, &byte, 1) == 1) {
    const long startedUs = NowUs();
    if (!Once(arguments)) return 1;
    dprintf(1, "%ld\\n", NowUs() - startedUs);
  }
}
`;

/** A program in C++ that does one thing over and over, so that the way measured is not that of a Node that has rested. */
export class NativeTimer {
  readonly #child;
  readonly #lines;

  /** `source` has `Begin(count, arguments)` and `Once(arguments)`, both false when they fail. Compiled in `folder`. */
  constructor(folder: string, name: string, source: string, argv: readonly string[]) {
    const file = path.join(folder, `${name}.cc`);
    const program = path.join(folder, name);
    writeFileSync(file, source + MAIN);
    execFileSync(process.env.CXX ?? 'g++', ['-O2', '-Wall', '-Wextra', '-o', program, file]);
    this.#child = spawn(program, [...argv], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** ms from asked to done. */
  async run(): Promise<number> {
    this.#child.stdin.write('.');
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('the program has ended');
    return Number(value) / 1000;
  }

  close(): void {
    this.#child.stdin.end();
  }
}
