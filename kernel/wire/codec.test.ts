import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HEADER_BYTES, MAX_PAYLOAD_BYTES } from '../protocol/constants.ts';
import { encodeFrame, FrameDecoder } from './codec.ts';

const frame = fc.record({
  opcode: fc.integer({ min: 0, max: 0xff }),
  agentId: fc.integer({ min: 0, max: 0xffffffff }),
  payload: fc.uint8Array({ maxLength: 300 }),
});

/** Cuts bytes into pieces whose sizes are taken in turn from `sizes`. */
function cut(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let position = 0, i = 0; position < bytes.length; i += 1) {
    const size = sizes[i % sizes.length] as number;
    pieces.push(bytes.slice(position, position + size));
    position += size;
  }
  return pieces;
}

function header(length: bigint): Buffer {
  const bytes = Buffer.from(encodeFrame({ opcode: 0x30 }));
  bytes.writeBigUInt64LE(length, 9);
  return bytes;
}

describe('encodeFrame', () => {
  it('lays the header out as the protocol says', () => {
    const bytes = Buffer.from(encodeFrame({ opcode: 0xfe, agentId: 0x01020304, payload: 'ü' }));
    expect(bytes.toString('hex')).toBe(`${'544e4741'}${'04030201'}${'fe'}${'0200000000000000'}${'c3bc'}`);
  });

  it('refuses an opcode or agent id outside its field', () => {
    for (const wrong of [{ opcode: 256 }, { opcode: -1 }, { opcode: 1.5 }, { opcode: 0, agentId: 2 ** 32 }]) {
      expect(() => encodeFrame(wrong)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    }
  });
});

describe('FrameDecoder', () => {
  it('gives back every frame, however the bytes are cut', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), sizes, (frames, pieceSizes) => {
        const decoder = new FrameDecoder();
        const bytes = Buffer.concat(frames.map(encodeFrame));
        const decoded = cut(bytes, pieceSizes).flatMap((piece) => decoder.push(piece));
        const plain = decoded.map((one) => ({ ...one, payload: new Uint8Array(one.payload) }));
        expect(plain).toEqual(frames);
        expect(decoder.pendingBytes).toBe(0);
      }),
    );
  });

  it('answers arbitrary bytes with frames or a failure, and holds no more than it was given', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), (chunks) => {
        const decoder = new FrameDecoder();
        let given = 0;
        for (const chunk of chunks) {
          given += chunk.length;
          try {
            decoder.push(chunk);
          } catch (error) {
            expect(error).toBe(decoder.failure);
          }
          expect(decoder.pendingBytes).toBeLessThanOrEqual(given);
        }
      }),
    );
  });

  it('takes a payload of exactly the limit and refuses one byte more from the header alone', () => {
    const largest = new Uint8Array(MAX_PAYLOAD_BYTES).fill(7);
    const [taken] = new FrameDecoder().push(encodeFrame({ opcode: 1, payload: largest }));
    expect(taken?.payload.length).toBe(MAX_PAYLOAD_BYTES);
    for (const length of [BigInt(MAX_PAYLOAD_BYTES) + 1n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n]) {
      expect(() => new FrameDecoder().push(header(length))).toThrow(
        expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE' }),
      );
    }
  });

  it('takes larger payloads when told so', () => {
    const decoder = new FrameDecoder(2 * MAX_PAYLOAD_BYTES);
    const bytes = encodeFrame({ opcode: 3, payload: new Uint8Array(2 * MAX_PAYLOAD_BYTES) });
    expect(decoder.push(bytes.subarray(0, 100_000))).toEqual([]);
    expect(decoder.push(bytes.subarray(100_000))[0]?.payload.length).toBe(2 * MAX_PAYLOAD_BYTES);
  });

  it('tells a wrong magic from its first wrong byte', () => {
    expect(() => new FrameDecoder().push(Buffer.from('G'))).toThrow(
      expect.objectContaining({ code: 'PROTOCOL' }),
    );
    const decoder = new FrameDecoder();
    decoder.push(Buffer.from('TNG'));
    expect(() => decoder.push(Buffer.from('x'))).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
  });

  it('gives out the frames before a fault first, and then only the fault', () => {
    const decoder = new FrameDecoder();
    const good = encodeFrame({ opcode: 2, payload: 'ok' });
    const frames = decoder.push(Buffer.concat([good, Buffer.from('junk')]));
    expect(frames.map(({ opcode }) => opcode)).toEqual([2]);
    expect(decoder.failure?.code).toBe('PROTOCOL');
    expect(() => decoder.push(good)).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
  });

  it('keeps what it gave out intact when more bytes come in', () => {
    const decoder = new FrameDecoder();
    const first = encodeFrame({ opcode: 1, payload: 'a'.repeat(50) });
    const second = encodeFrame({ opcode: 2, payload: 'b'.repeat(50) });
    decoder.push(first.subarray(0, HEADER_BYTES + 10));
    const [one] = decoder.push(first.subarray(HEADER_BYTES + 10));
    decoder.push(second.subarray(0, second.length - 1));
    decoder.push(second.subarray(second.length - 1));
    expect(Buffer.from(one?.payload ?? []).toString()).toBe('a'.repeat(50));
  });
});
