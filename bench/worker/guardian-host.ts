/** Main module of the guardian: "+PID START" and "-PID" lines on standard input, "dPATH" for a folder; at its end, what is left is killed and removed. */
import { readSync, rmSync } from 'node:fs';
import { processStartTicks } from '../measure/proc.ts';

const groups = new Map<number, string>();
const directories: string[] = [];
const buffer = Buffer.alloc(65536);
let text = '';
for (;;) {
  let length = 0;
  try {
    length = readSync(0, buffer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EINTR') continue;
  }
  if (length === 0) break;
  text += buffer.toString('latin1', 0, length);
  const lines = text.split('\n');
  text = lines.pop() ?? '';
  for (const line of lines) {
    if (line.startsWith('d')) {
      directories.push(decodeURIComponent(line.slice(1)));
      continue;
    }
    const pid = Number.parseInt(line.slice(1), 10);
    if (line.startsWith('+')) groups.set(pid, line.split(' ')[1] ?? '');
    else groups.delete(pid);
  }
}
for (const [pid, start] of groups) {
  // The start time makes sure that the number has not passed to somebody else.
  if (processStartTicks(pid) !== start) continue;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // gone meanwhile
  }
}
for (const directory of directories) rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
