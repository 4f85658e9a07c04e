import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CloveError } from '../../../errors/index.ts';
import { syncDirectory } from './atomic-write.ts';
import { DATASETS, type DatasetDefinition, type DatasetName } from './sources.ts';

export type FetchState = 'present' | 'fetching' | 'fetched';

export interface FetchProgress {
  readonly dataset: DatasetName;
  readonly state: FetchState;
  readonly receivedBytes: number;
  readonly totalBytes: number;
}

export interface FetchOptions {
  /** Where the files go, e.g. `datasetCacheDirectory()`. Made if it is missing. */
  readonly directory: string;
  /** Default: all that are published. */
  readonly datasets?: readonly DatasetDefinition[];
  readonly onProgress?: (progress: FetchProgress) => void;
  readonly fetch?: typeof globalThis.fetch;
  readonly signal?: AbortSignal;
  /** Longest wait for an answer, or for the next bytes of one. Default 30,000. */
  readonly timeoutMs?: number;
  /** Tries for each file; each goes on where the last stopped. Default 4. */
  readonly attempts?: number;
  /** Wait before the second try, doubled for each further one. Default 1,000. */
  readonly retryDelayMs?: number;
}

export interface FetchedDataset {
  readonly dataset: DatasetName;
  readonly path: string;
  /** False when the file was there already, whole. */
  readonly fetched: boolean;
}

/**
 * Downloads the published data sets, one after another. A file appears under its name only when it is whole, with the published
 * SHA-256, and on disk; what came before a broken connection stays in a `.part` file and is not downloaded again.
 *
 * Throws UNREACHABLE when the server does not answer or refuses, TIMEOUT when it stalls, CANCELLED on the signal, DATA_CORRUPT
 * when it sends other content, IO when the directory cannot be written.
 */
export async function fetchDatasets(options: FetchOptions): Promise<FetchedDataset[]> {
  const results: FetchedDataset[] = [];
  try {
    await mkdir(options.directory, { recursive: true });
    for (const dataset of options.datasets ?? Object.values(DATASETS)) {
      results.push(await fetchDataset(dataset, options));
    }
  } catch (error) {
    if (error instanceof CloveError) throw error;
    const { message } = error as Error;
    throw new CloveError('IO', `cannot store data sets in ${options.directory}: ${message}`, {
      cause: error,
    });
  }
  return results;
}

async function fetchDataset(definition: DatasetDefinition, options: FetchOptions): Promise<FetchedDataset> {
  const { name, file, bytes: totalBytes, sha256 } = definition;
  const target = path.join(options.directory, file);
  const report = (state: FetchState, receivedBytes: number): void =>
    options.onProgress?.({ dataset: name, state, receivedBytes, totalBytes });
  if ((await hashFile(target))?.digest('hex') === sha256) {
    report('present', totalBytes);
    return { dataset: name, path: target, fetched: false };
  }
  const part = `${target}.part`;
  const begun = (await stat(part).catch(() => undefined)) !== undefined;
  await downloadWithRetries(definition, part, options, (received) => report('fetching', received));
  let found = (await hashFile(part))?.digest('hex');
  if (found !== sha256 && begun) {
    // What an earlier run left may be the wrong half: once more from the start.
    await rm(part, { force: true });
    await downloadWithRetries(definition, part, options, (received) => report('fetching', received));
    found = (await hashFile(part))?.digest('hex');
  }
  if (found !== sha256) {
    await rm(part, { force: true });
    throw new CloveError('DATA_CORRUPT', `${definition.url} did not send the published ${name} file`, {
      hint: 'The published file may have changed, or something between here and the server alters it.',
      details: { dataset: name, url: definition.url, expected: sha256, found },
    });
  }
  await rename(part, target);
  syncDirectory(options.directory);
  report('fetched', totalBytes);
  return { dataset: name, path: target, fetched: true };
}

async function downloadWithRetries(
  definition: DatasetDefinition,
  part: string,
  options: FetchOptions,
  onReceived: (bytes: number) => void,
): Promise<void> {
  const attempts = options.attempts ?? 4;
  for (let attempt = 1; ; attempt++) {
    throwIfCancelled(options.signal);
    try {
      return await download(definition, part, options, onReceived);
    } catch (error) {
      const retriable =
        error instanceof CloveError && (error.code === 'TIMEOUT' || error.details?.retriable === true);
      if (!retriable || attempt >= attempts) throw error;
      await sleep((options.retryDelayMs ?? 1_000) * 2 ** (attempt - 1), undefined, {
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      }).catch(() => throwIfCancelled(options.signal));
    }
  }
}

/** Brings `part` to its full length, from where it stands. */
async function download(
  definition: DatasetDefinition,
  part: string,
  options: FetchOptions,
  onReceived: (bytes: number) => void,
): Promise<void> {
  const { url, bytes: totalBytes } = definition;
  let received = (await stat(part).catch(() => undefined))?.size ?? 0;
  if (received === totalBytes) return;
  if (received > totalBytes) {
    await rm(part);
    received = 0;
  }
  const watchdog = new Watchdog(options.timeoutMs ?? 30_000, options.signal);
  try {
    const request = options.fetch ?? globalThis.fetch;
    const response = await request(url, {
      headers: received > 0 ? { range: `bytes=${received}-` } : {},
      redirect: 'follow',
      signal: watchdog.signal,
    });
    const resumed = response.status === 206 && startsAt(response, received);
    if (!resumed && response.status !== 200) {
      await response.body?.cancel();
      if (response.status === 416 || response.status === 206) await rm(part, { force: true });
      throw refusal(url, response.status);
    }
    if (!resumed) received = 0;
    const handle = await open(part, resumed ? 'a' : 'w', 0o644);
    try {
      for await (const chunk of response.body ?? []) {
        watchdog.feed();
        received += chunk.byteLength;
        if (received > totalBytes) {
          await rm(part, { force: true });
          throw new CloveError(
            'DATA_CORRUPT',
            `${url} sends more than the ${totalBytes} bytes that were published`,
          );
        }
        await handle.writeFile(chunk);
        onReceived(received);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw watchdog.translate(error, url);
  } finally {
    watchdog.stop();
  }
  if (received < totalBytes) {
    throw new CloveError('UNREACHABLE', `${url} ended after ${received} of ${totalBytes} bytes`, {
      details: { retriable: true },
    });
  }
}

function startsAt(response: Response, offset: number): boolean {
  return response.headers.get('content-range')?.startsWith(`bytes ${offset}-`) === true;
}

function refusal(url: string, status: number): CloveError {
  const retriable = status === 206 || status === 416 || status === 429 || status >= 500;
  return new CloveError('UNREACHABLE', `${url} answered ${status}`, { details: { status, retriable } });
}

function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true)
    throw new CloveError('CANCELLED', 'the download was cancelled', { cause: signal.reason });
}

/** Aborts a request when nothing arrives for `timeoutMs`, or when the caller's signal says so, and tells which it was. */
class Watchdog {
  readonly #controller = new AbortController();
  readonly #timeoutMs: number;
  readonly #caller: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly signal: AbortSignal;

  constructor(timeoutMs: number, caller: AbortSignal | undefined) {
    this.#timeoutMs = timeoutMs;
    this.#caller = caller;
    this.#timer = setTimeout(() => this.#controller.abort(), timeoutMs);
    this.signal = AbortSignal.any([this.#controller.signal, ...(caller === undefined ? [] : [caller])]);
  }

  feed(): void {
    this.#timer.refresh();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  translate(error: unknown, url: string): unknown {
    if (error instanceof CloveError) return error;
    if (this.#caller?.aborted === true)
      return new CloveError('CANCELLED', 'the download was cancelled', { cause: error });
    if (this.#controller.signal.aborted) {
      return new CloveError('TIMEOUT', `${url} sent nothing for ${this.#timeoutMs} ms`, { cause: error });
    }
    // A system call on the part file failed: `fetch` itself only throws TypeErrors.
    if (error instanceof Error && 'syscall' in error) return error;
    const { message, cause } = error as Error;
    const reason = cause instanceof Error ? cause.message : message;
    return new CloveError('UNREACHABLE', `cannot fetch ${url}: ${reason}`, {
      hint: 'Check the network; what has arrived is kept. Without a network, the built-in offline set is used.',
      cause: error,
      details: { retriable: true },
    });
  }
}

/** Undefined when there is no such file. */
async function hashFile(file: string): Promise<Hash | undefined> {
  const digest = createHash('sha256');
  try {
    for await (const chunk of createReadStream(file)) digest.update(chunk as Buffer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return digest;
}
