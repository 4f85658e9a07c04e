import { CloveError } from '../../errors/index.ts';

/** All of a body, up to a limit. @throws PAYLOAD_TOO_LARGE */
export async function readAll(
  stream: ReadableStream<Uint8Array> | null,
  limit: number,
  what: string,
): Promise<Uint8Array<ArrayBuffer>> {
  if (stream === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop early cancels the stream.
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > limit) throw new CloveError('PAYLOAD_TOO_LARGE', `${what} is larger than ${limit} bytes`);
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}
