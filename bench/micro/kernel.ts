/** A kernel in this process for measurements, in a folder that is removed with it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createKernel, type RunningKernel } from '../../kernel/index.ts';

export async function withMeasuredKernel<T>(work: (kernel: RunningKernel) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'clove-micro-'));
  try {
    const kernel = await createKernel({
      socketPath: join(folder, 'clove.sock'),
      dataDirectory: join(folder, 'data'),
      logLevel: 'error',
    });
    try {
      return await work(kernel);
    } finally {
      await kernel.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
