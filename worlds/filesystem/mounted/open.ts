import { CloveError } from '../../../errors/index.ts';
import type { WorldClock } from '../../clock/types.ts';
import type { StreamBook } from '../../luck/stream-book.ts';
import type { VirtualWorldOrder } from '../../virtual-world.ts';
import { initialTree } from '../initial.ts';
import type { TreeEntry } from '../types.ts';
import { MountedFiles } from './files.ts';

/** The files of a definition, or of where a world goes on, for processes. null = members keep their own. */
export async function filesFrom(
  { definition, blocks, folder, image, id }: VirtualWorldOrder,
  clock: WorldClock,
  luck: StreamBook,
  hostFolder: string,
): Promise<MountedFiles | null> {
  const { files } = definition;
  if (files === 'own') return null;
  const { limits, intercept, readonly, writable } = files;
  const open = (base: readonly TreeEntry[], entries?: readonly TreeEntry[]) =>
    MountedFiles.open({
      folder: hostFolder,
      worldId: id,
      clock,
      blocks,
      limits: { bytes: limits.bytes, files: limits.files, fileBytes: limits.file_bytes },
      rules: { intercept, readonly, writable },
      random: (purpose) => luck.next(purpose),
      base,
      ...(entries === undefined ? {} : { entries }),
    });
  if (image !== undefined) {
    if (image.files === null)
      throw new CloveError('DATA_CORRUPT', 'the snapshot has no files, the definition has');
    const made = await open(image.files.base, image.files.entries);
    try {
      for (const { handle, spec } of image.files.faults) made.faults.restoreOne(handle, spec);
    } catch (error) {
      await made.close();
      throw error;
    }
    return made;
  }
  const initial = await initialTree(files, { blocks, folder, startMs: clock.nowMs() });
  try {
    return await open(initial.entries);
  } finally {
    initial.release();
  }
}
