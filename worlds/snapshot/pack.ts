import { CloveError } from '../../errors/index.ts';
import { toSortedJson } from '../../kernel/json.ts';
import type { KeptAgent } from '../../kernel/worlds/host.ts';
import { type BlockStore, hashOf } from '../filesystem/blocks.ts';
import type { TreeEntry } from '../filesystem/types.ts';
import { checkedBody, corrupt, type SnapshotBody } from './format.ts';

/** A snapshot in memory: what it says, and the contents it speaks of, by their SHA-256. */
export interface Packed {
  /** SHA-256 of the body as sorted JSON, which names every content by its own. */
  readonly id: string;
  readonly body: SnapshotBody;
  readonly blocks: ReadonlyMap<string, Buffer>;
}

export function pack(body: SnapshotBody, content: (hash: string) => Buffer): Packed {
  const blocks = new Map<string, Buffer>();
  for (const { hash } of treesOf(body)) {
    if (hash !== undefined && !blocks.has(hash)) blocks.set(hash, content(hash));
  }
  return { id: idOf(body), body, blocks };
}

/** The same snapshot with other agents. */
export function withAgents({ body, blocks }: Packed, agents: readonly KeptAgent[]): Packed {
  const changed = JSON.parse(JSON.stringify({ ...body, image: { ...body.image, agents } })) as SnapshotBody;
  return { id: idOf(changed), body: changed, blocks };
}

/** The addresses are right, every content is there and no other, sizes are true. @throws DATA_CORRUPT */
export function verified(id: string, value: unknown, blocks: ReadonlyMap<string, Buffer>): Packed {
  const body = checkedBody(value);
  if (idOf(value) !== id) throw corrupt('its content is not what its id says');
  const needed = new Set<string>();
  for (const { hash, size, path } of treesOf(body)) {
    if (hash === undefined) continue;
    needed.add(hash);
    const content = blocks.get(hash);
    if (content === undefined) throw corrupt(`the content of ${path} is missing`);
    if (content.length !== size) throw corrupt(`${path} has not the size it should have`);
  }
  for (const [hash, content] of blocks) {
    if (!needed.has(hash)) throw corrupt(`a content that no file has: ${hash}`);
    if (hashOf(content) !== hash) throw corrupt(`the content with the address ${hash} is another`);
  }
  return { id, body, blocks };
}

/** Puts the contents into the store; the result lets go of them. @throws OVERLOAD */
export function unpackInto(store: BlockStore, { blocks }: Packed): () => void {
  const held: string[] = [];
  const release = () => {
    for (const hash of held) store.release(hash);
  };
  try {
    for (const content of blocks.values()) held.push(store.put(content));
  } catch (error) {
    release();
    throw error;
  }
  return release;
}

function treesOf({ image: { files } }: SnapshotBody): readonly TreeEntry[] {
  return files === null ? [] : [...files.base, ...files.entries];
}

function idOf(body: unknown): string {
  return hashOf(Buffer.from(toSortedJson(body)));
}

export function tooLarge(bytes: number): CloveError {
  return new CloveError('PAYLOAD_TOO_LARGE', `the snapshot has ${bytes} bytes, too many for an answer`, {
    hint: 'Take it into a file: `clove world snapshot ID FILE`, or `path` in the request.',
  });
}
