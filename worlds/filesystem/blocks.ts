import { hash } from 'node:crypto';
import { CloveError } from '../../errors/index.ts';

interface Block {
  readonly bytes: Buffer;
  references: number;
}

/** What one content is charged with besides its bytes. */
const OVERHEAD_BYTES = 200;

/**
 * Contents of files by their SHA-256, each held once however many worlds, branches and snapshots have it. Who holds one
 * says so, and says when no longer.
 */
export class BlockStore {
  readonly #blocks = new Map<string, Block>();
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes = 2 * 2 ** 30) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#blocks.size;
  }

  /** The address of the content, held once more. @throws OVERLOAD */
  put(content: Uint8Array): string {
    const address = hashOf(content);
    const known = this.#blocks.get(address);
    if (known !== undefined) {
      known.references += 1;
      return address;
    }
    const bytes = content.length + OVERHEAD_BYTES;
    if (this.#bytes + bytes > this.#maxBytes) {
      throw new CloveError(
        'OVERLOAD',
        `the worlds of this kernel hold ${this.#maxBytes} bytes, the most they may`,
      );
    }
    // A copy: what is stored must not change, and must not keep a larger buffer alive.
    this.#blocks.set(address, { bytes: Buffer.from(content), references: 1 });
    this.#bytes += bytes;
    return address;
  }

  /** Not to be written to. @throws DATA_CORRUPT */
  get(address: string): Buffer {
    return this.#block(address).bytes;
  }

  has(address: string): boolean {
    return this.#blocks.has(address);
  }

  hold(address: string): void {
    this.#block(address).references += 1;
  }

  release(address: string): void {
    const block = this.#block(address);
    block.references -= 1;
    if (block.references > 0) return;
    this.#blocks.delete(address);
    this.#bytes -= block.bytes.length + OVERHEAD_BYTES;
  }

  #block(address: string): Block {
    const block = this.#blocks.get(address);
    if (block === undefined) throw new CloveError('DATA_CORRUPT', `no content has the address ${address}`);
    return block;
  }
}

export function hashOf(content: Uint8Array): string {
  return hash('sha256', content, 'hex');
}
