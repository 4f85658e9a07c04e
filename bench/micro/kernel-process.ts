/** A kernel in a process of its own for measurements: the program that imports this is started a second time, as that process. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { KERNEL_NODE_OPTIONS } from '../../kernel/node-options.ts';
import { serveUrgently } from '../../native/urgent.ts';
import { withMeasuredKernel } from './kernel.ts';

/** This process is the kernel's: there is nothing else for it to do. */
export const runsKernel = process.send !== undefined;

if (runsKernel) {
  await withMeasuredKernel(async ({ socketPath }) => {
    serveUrgently();
    process.on('message', () => process.send?.(process.memoryUsage()));
    process.send?.(socketPath);
    await once(process, 'disconnect');
  });
}

export interface KernelProcess {
  readonly socketPath: string;
  memory(): Promise<NodeJS.MemoryUsage>;
  end(): void;
}

export async function startKernelProcess(): Promise<KernelProcess> {
  const execArgv = [...process.execArgv, ...KERNEL_NODE_OPTIONS];
  const child = fork(process.argv[1] ?? '', { stdio: 'inherit', execArgv });
  const [socketPath] = (await once(child, 'message')) as [string];
  const memory = async () => {
    child.send('memory');
    const [usage] = (await once(child, 'message')) as [NodeJS.MemoryUsage];
    return usage;
  };
  return { socketPath, memory, end: () => child.disconnect() };
}
