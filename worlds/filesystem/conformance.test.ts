import { beforeAll } from 'vitest';
import { ensureNative } from '../../native/index.ts';
import { cleanUp, temporaryFolder } from '../../native/sandbox-testing.ts';
import { Luck } from '../luck/streams.ts';
import { BlockStore } from './blocks.ts';
import { entriesOf, type FilesOrder, type FilesUnderTest, filesConformance } from './conformance.ts';
import { MountedFiles } from './mounted/files.ts';
import { VirtualFiles } from './virtual.ts';

const luck = new Luck(1);
const clock = { nowMs: () => Date.now(), sleep: async () => undefined };

function partsOf({ initial, rules, limits }: FilesOrder) {
  const blocks = new BlockStore();
  return {
    clock,
    blocks,
    base: entriesOf(initial, (content) => blocks.put(content)),
    limits: { bytes: 64 * 2 ** 20, files: 1000, fileBytes: 2 ** 20, ...limits },
    rules: { intercept: ['/**'], readonly: [], writable: [], ...rules },
    random: (purpose: string) => luck.stream(purpose),
  };
}

filesConformance('virtual', async (order): Promise<FilesUnderTest> => {
  const files = new VirtualFiles(partsOf(order));
  return { files, close: async () => files.close() };
});

if (process.geteuid?.() === 0) {
  beforeAll(async () => {
    await ensureNative();
  }, 180_000);
  filesConformance('mounted', async (order): Promise<FilesUnderTest> => {
    const files = await MountedFiles.open({ ...partsOf(order), folder: temporaryFolder(), worldId: 'w' });
    return {
      files,
      close: async () => {
        files.close();
        await cleanUp();
      },
    };
  });
}
