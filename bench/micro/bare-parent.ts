import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** For every line it reads, it starts a program, waits for it, and writes how many microseconds that took. */
const SOURCE = `
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long NowUs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

int main(int count, char** arguments) {
  char byte, *none[] = {NULL};
  (void)count;
  while (read(0, &byte, 1) == 1) {
    const long startedUs = NowUs();
    pid_t pid;
    int status;
    if (posix_spawn(&pid, arguments[1], NULL, NULL, arguments + 1, none) != 0) return 1;
    if (waitpid(pid, &status, 0) != pid || status != 0) return 1;
    dprintf(1, "%ld\\n", NowUs() - startedUs);
  }
}
`;

/**
 * A parent of a few hundred KiB that starts programs by posix_spawn (vfork): what a start costs that does nothing but start. Node's own
 * children cost a fork of Node.
 */
export class BareParent {
  readonly #child;
  readonly #lines;

  /** Compiled in `folder`. */
  constructor(folder: string, argv: readonly string[]) {
    const source = path.join(folder, 'parent.cc');
    const program = path.join(folder, 'parent');
    writeFileSync(source, SOURCE);
    execFileSync(process.env.CXX ?? 'g++', ['-O2', '-o', program, source]);
    this.#child = spawn(program, [...argv], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** ms from asked to reaped. */
  async run(): Promise<number> {
    this.#child.stdin.write('.');
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('the parent has ended');
    return Number(value) / 1000;
  }

  close(): void {
    this.#child.stdin.end();
  }
}
