import type { RandomStream } from '../luck/streams.ts';
import { PathPatterns } from './path-patterns.ts';
import type { TreeEntry } from './types.ts';

/** How much of which files a corruption changes. */
export interface Corruption {
  readonly bytes: number;
  readonly files: number;
  readonly random: RandomStream;
}

/** The files that a corruption hits: some of those that match and have something in them. */
export function filesToCorrupt(
  entries: readonly TreeEntry[],
  pattern: string | undefined,
  { files, random }: Corruption,
): TreeEntry[] {
  const patterns = new PathPatterns([pattern ?? '**']);
  const candidates = entries.filter(
    (entry) => entry.kind === 'file' && (entry.size ?? 0) > 0 && patterns.matches(entry.path),
  );
  return random.shuffle(candidates).slice(0, files);
}

/** Some bytes changed to others. */
export function flipped(content: Buffer, bytes: number, random: RandomStream): Buffer {
  const damaged = Buffer.from(content);
  for (let index = 0; index < bytes; index += 1) {
    const at = random.integer(0, damaged.length - 1);
    damaged[at] = (damaged[at] as number) ^ random.integer(1, 255);
  }
  return damaged;
}
