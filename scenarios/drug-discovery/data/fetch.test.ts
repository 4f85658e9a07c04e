import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type FetchProgress, fetchDatasets } from './fetch.ts';
import { DATASETS, type DatasetDefinition } from './sources.ts';

const content = randomBytes(100_000);

let directory: string;
let server: Server;
let definition: DatasetDefinition;
let requests: { range: string | undefined }[];
let respond: (request: IncomingMessage, response: ServerResponse) => void;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'clove-fetch-'));
  requests = [];
  server = createServer((request, response) => {
    requests.push({ range: request.headers.range });
    respond(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  definition = {
    ...DATASETS.hERG,
    bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`,
  };
  respond = sendAll;
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(directory, { recursive: true });
});

function sendAll(request: IncomingMessage, response: ServerResponse): void {
  const offset = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  if (offset > 0) {
    response.writeHead(206, { 'content-range': `bytes ${offset}-${content.length - 1}/${content.length}` });
  }
  response.end(content.subarray(offset));
}

/** Sends `bytes`, and breaks the connection when they have been kept: what is still under way then would be lost. */
function sendPart(response: ServerResponse, bytes: number): void {
  response.writeHead(200, { 'content-length': content.length });
  response.write(content.subarray(0, bytes));
  void vi
    .waitUntil(async () => (await sizeOf(path.join(directory, 'herg.tab.part'))) === bytes, {
      timeout: 60_000,
      interval: 5,
    })
    .finally(() => response.destroy());
}

async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => null))?.size ?? 0;
}

const run = (options: Partial<Parameters<typeof fetchDatasets>[0]> = {}): ReturnType<typeof fetchDatasets> =>
  fetchDatasets({ directory, datasets: [definition], retryDelayMs: 1, ...options });

describe('fetching the published data', () => {
  it('stores the file under its name, leaves nothing else, and reports progress', async () => {
    const progress: FetchProgress[] = [];
    const results = await run({ onProgress: (step) => progress.push(step) });
    expect(results).toEqual([{ dataset: 'hERG', path: path.join(directory, 'herg.tab'), fetched: true }]);
    expect(await readdir(directory)).toEqual(['herg.tab']);
    expect(await readFile(path.join(directory, 'herg.tab'))).toEqual(content);
    expect(progress.at(-2)).toMatchObject({ state: 'fetching', receivedBytes: content.length });
    expect(progress.at(-1)).toEqual({
      dataset: 'hERG',
      state: 'fetched',
      receivedBytes: content.length,
      totalBytes: content.length,
    });
  });

  it('asks nothing of the server when the file is there', async () => {
    await run();
    requests.length = 0;
    expect(await run()).toMatchObject([{ fetched: false }]);
    expect(requests).toEqual([]);
  });

  it('replaces a file of other content', async () => {
    await writeFile(path.join(directory, 'herg.tab'), 'something else');
    expect(await run()).toMatchObject([{ fetched: true }]);
    expect(await readFile(path.join(directory, 'herg.tab'))).toEqual(content);
  });

  it('goes on where a broken connection stopped', async () => {
    respond = (request, response) =>
      requests.length === 1 ? sendPart(response, 60_000) : sendAll(request, response);
    await run();
    expect(requests).toEqual([{ range: undefined }, { range: 'bytes=60000-' }]);
    expect(await readFile(path.join(directory, 'herg.tab'))).toEqual(content);
  });

  it('keeps what came for a later run', async () => {
    respond = (_, response) => sendPart(response, 30_000);
    await expect(run({ attempts: 1 })).rejects.toMatchObject({ code: 'UNREACHABLE' });
    expect(await readdir(directory)).toEqual(['herg.tab.part']);
    respond = sendAll;
    await run();
    expect(requests.at(-1)).toEqual({ range: 'bytes=30000-' });
    expect(await readdir(directory)).toEqual(['herg.tab']);
  });

  it('starts over with a server that ignores ranges', async () => {
    await writeFile(path.join(directory, 'herg.tab.part'), content.subarray(0, 10));
    respond = (_, response) => response.end(content);
    await run();
    expect(await readFile(path.join(directory, 'herg.tab'))).toEqual(content);
  });

  it('starts over when what an earlier run left turns out wrong', async () => {
    await writeFile(path.join(directory, 'herg.tab.part'), Buffer.alloc(500));
    await run();
    expect(requests).toEqual([{ range: 'bytes=500-' }, { range: undefined }]);
    expect(await readFile(path.join(directory, 'herg.tab'))).toEqual(content);
  });

  it('refuses other content and does not keep it', async () => {
    respond = (_, response) => response.end(Buffer.alloc(content.length));
    await expect(run()).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
    expect(await readdir(directory)).toEqual([]);
    expect(requests).toHaveLength(1);
  });

  it('stops reading when more comes than was published', async () => {
    respond = (_, response) => response.end(Buffer.alloc(content.length * 2));
    await expect(run()).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
    expect(await readdir(directory)).toEqual([]);
  });

  it('tries again after a server error, not after a refusal', async () => {
    respond = (request, response) => {
      if (requests.length < 3) response.writeHead(503).end();
      else sendAll(request, response);
    };
    await run();
    expect(requests).toHaveLength(3);
    await rm(path.join(directory, 'herg.tab'));
    requests.length = 0;
    respond = (_, response) => response.writeHead(404).end();
    await expect(run()).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: expect.stringContaining('404'),
    });
    expect(requests).toHaveLength(1);
  });

  it('ends a stalled download', async () => {
    respond = (_, response) => {
      response.writeHead(200);
      response.write(content.subarray(0, 10));
    };
    await expect(run({ timeoutMs: 50, attempts: 1 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  it('can be cancelled', async () => {
    const controller = new AbortController();
    respond = (_, response) => {
      response.writeHead(200);
      response.write(content.subarray(0, 10), () => controller.abort());
    };
    await expect(run({ signal: controller.signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(run({ signal: controller.signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(requests).toHaveLength(1);
  });

  it('names the reason when nothing answers', async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    const unreachable = { ...definition, url: `http://127.0.0.1:${port}/` };
    await expect(run({ datasets: [unreachable], attempts: 2 })).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  it('says so when the directory cannot be written', async () => {
    await writeFile(path.join(directory, 'file'), '');
    await expect(run({ directory: path.join(directory, 'file') })).rejects.toMatchObject({ code: 'IO' });
  });
});

describe('the published data sets', () => {
  it('have distinct files, checksums and addresses', () => {
    const all = Object.values(DATASETS);
    for (const key of ['file', 'sha256', 'url'] as const)
      expect(new Set(all.map((set) => set[key])).size).toBe(4);
    for (const { name, sha256, url } of all) {
      expect(DATASETS[name].name).toBe(name);
      expect(sha256).toMatch(/^[0-9a-f]{64}$/);
      expect(url).toMatch(/^https:\/\/dataverse\.harvard\.edu\/api\/access\/datafile\/\d{7}$/);
    }
  });
});
