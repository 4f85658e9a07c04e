import type { IncomingMessage } from 'node:http';
import { pipeline, type Transform } from 'node:stream';
import { pipeline as pipelineDone } from 'node:stream/promises';
import zlib from 'node:zlib';
import { errorOf, failed, tooMuch } from './exchange.ts';

/** Each coding multiplies what the one before it gave. */
const MAX_CODINGS = 3;

/** What RFC 9659 lets a sender ask for; without it a frame may ask for 128 MiB of memory. */
const MAX_ZSTD_WINDOW_LOG = 23;

type Chunks = AsyncIterable<Buffer>;
type Stage = Transform | ((source: Chunks) => AsyncIterable<Buffer>);

/**
 * Hands the body of a response, decoded, to `take` piece by piece. Bounded before and after decoding: a bomb is found out
 * while it goes off. @throws PAYLOAD_TOO_LARGE, IO, what `take` throws, or what the signal was aborted with
 */
export async function readBody(
  response: IncomingMessage,
  maxBytes: number,
  signal: AbortSignal,
  take: (chunk: Buffer) => void | Promise<void>,
): Promise<void> {
  const sink = async (source: Chunks): Promise<void> => {
    let bytes = 0;
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw tooLarge(maxBytes);
      await take(chunk);
    }
  };
  try {
    const announced = Number(response.headers['content-length']);
    if (announced > maxBytes && mayHaveBody(response)) throw tooLarge(maxBytes);
    const stages: Stage[] = [countBytes(maxBytes), ...decodersOf(response.headers['content-encoding'])];
    await pipelineDone([response, ...stages, sink], { signal });
    if (!response.complete) throw failed('the response ended too early');
  } catch (error) {
    throw errorOf(error, signal);
  } finally {
    response.destroy();
  }
}

function mayHaveBody({ statusCode, req }: IncomingMessage & { req?: { method?: string } }): boolean {
  return req?.method !== 'HEAD' && statusCode !== 204 && statusCode !== 304;
}

function tooLarge(maxBytes: number): Error {
  return tooMuch(`the response is larger than ${maxBytes} bytes`);
}

function countBytes(maxBytes: number): (source: Chunks) => AsyncIterable<Buffer> {
  return async function* count(source) {
    let bytes = 0;
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw tooLarge(maxBytes);
      yield chunk;
    }
  };
}

/** Last applied, first undone. A coding that is not known leaves the body as it came, as in browsers. */
function decodersOf(contentEncoding: string | undefined): Stage[] {
  const codings = (contentEncoding ?? '')
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== '' && coding !== 'identity');
  if (codings.length > MAX_CODINGS) throw failed('the response is encoded too many times');
  const decoders = codings.reverse().map(decoderOf);
  return decoders.every((decoder) => decoder !== null) ? decoders : [];
}

function decoderOf(coding: string): Stage | null {
  switch (coding) {
    case 'gzip':
    case 'x-gzip':
      return unlessEmpty(() => zlib.createGunzip());
    case 'deflate':
      // The standard means zlib's format; some servers send it without the wrapping.
      return unlessEmpty((first) =>
        ((first[0] ?? 0) & 0x0f) === 8 ? zlib.createInflate() : zlib.createInflateRaw(),
      );
    case 'br':
      return unlessEmpty(() => zlib.createBrotliDecompress());
    case 'zstd':
      return unlessEmpty(() =>
        zlib.createZstdDecompress({ params: { [zlib.constants.ZSTD_d_windowLogMax]: MAX_ZSTD_WINDOW_LOG } }),
      );
    default:
      return null;
  }
}

/** Answers to HEAD and the like name a coding and have nothing that is coded. */
function unlessEmpty(create: (first: Buffer) => Transform): (source: Chunks) => AsyncIterable<Buffer> {
  return async function* decode(source) {
    const chunks = source[Symbol.asyncIterator]();
    const first = await chunks.next();
    if (first.done === true) return;
    const decoder = create(first.value);
    async function* all(): AsyncGenerator<Buffer> {
      yield first.value;
      for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
    }
    // Errors of the source end the decoder too, and by it the reading.
    pipeline(all(), decoder, () => {});
    try {
      yield* decoder as AsyncIterable<Buffer>;
    } finally {
      decoder.destroy();
    }
  };
}
