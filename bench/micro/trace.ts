import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createKernel } from '../../kernel/index.ts';
const folder = mkdtempSync(join(tmpdir(), 'clove-micro-'));
const socketPath = join(folder, 'clove.sock');
const kernel = await createKernel({ socketPath, dataDirectory: join(folder, 'data'), logLevel: 'error', sandboxPool: 4 });
const ev: [string, number][] = [];
(globalThis as any).__t = (l: string) => ev.push([l, Number(process.hrtime.bigint()) / 1e6]);
(globalThis as any).__p = (l: string, t: number) => ev.push([l, t]);
const child = spawn('/tmp/sct', [socketPath, process.argv[2]!, process.argv[3]!, '10', '16'], { stdio: ['ignore', 'pipe', 'inherit'] });
let text = '';
child.stdout.on('data', (d) => { text += d; });
await once(child, 'close');
const marks = text.split('\n').filter((l) => l.startsWith('@')).map((l) => l.slice(1).split(' ').map(Number));
console.log(text.split('\n').filter((l) => !l.startsWith('@')).join('\n').slice(-300));
const sums = new Map<string, number[]>();
for (const [a, b, c] of marks) {
  const mine = ev.filter(([, t]) => t >= a! && t <= c!);
  const seen = new Map<string, number>();
  for (const [l, t] of mine) {
    const n = (seen.get(l) ?? 0) + 1; seen.set(l, n);
    const k = n > 1 ? `${l}#${n}` : l;
    if (!sums.has(k)) sums.set(k, []);
    sums.get(k)!.push(t - a!);
  }
  for (const [k, t] of [['C: SPAWN answered', b!], ['C: WAIT answered', c!]] as const) { if (!sums.has(k)) sums.set(k, []); sums.get(k)!.push(t - a!); }
}
const rows = [...sums].map(([k, v]) => { v.sort((x, y) => x - y); return [k, v[v.length >> 1]!, v.length] as const; }).sort((x, y) => x[1] - y[1]);
for (const [k, v, n] of rows) console.log(v.toFixed(3).padStart(8), k, n);
await kernel.close();
