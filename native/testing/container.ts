// For tests: this machine as a container engine would show it (container.cc).
import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import path from 'node:path';

/** Compiles the program into a folder that every user may enter; argv that a command is put behind. */
export function containerProgram(folder: string): string {
  const program = path.join(folder, 'container');
  const source = path.join(import.meta.dirname, 'container.cc');
  execFileSync(process.env.CXX ?? 'g++', ['-std=c++20', '-O1', '-static', '-o', program, source]);
  chmodSync(program, 0o755);
  return program;
}
