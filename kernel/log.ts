import pino, { type Logger } from 'pino';
import type { KernelOptions } from './options.ts';

/**
 * JSON lines on stderr. Levels: error = the kernel cannot do what it is for; warn = an operator should look; info = life of the
 * kernel; debug = life of agents. Written asynchronously: a reader that stalls must not stall the kernel.
 */
export function createLog(level: KernelOptions['logLevel']): Logger {
  if (level === 'silent') return pino({ level });
  return pino({ level, base: { pid: process.pid } }, pino.destination({ dest: 2, sync: false }));
}
