import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';
import type { FilesConfig } from '../definition.ts';
import type { BlockStore } from './blocks.ts';
import { checkedPath } from './paths.ts';
import type { TreeEntry } from './types.ts';

const MAX_TEMPLATE_FILES = 20_000;
const MAX_TEMPLATE_BYTES = 256 * 2 ** 20;

export interface InitialTree {
  readonly entries: readonly TreeEntry[];
  /** Lets go of the contents, when whoever needs them holds them. */
  release(): void;
}

/**
 * The tree a definition begins with: the files of its folder, if it has one, and over them those it names.
 * @throws CONFIG, OVERLOAD, PATH_REFUSED, FORBIDDEN (a folder in a definition that came over a socket)
 */
export async function initialTree(
  config: FilesConfig,
  { blocks, folder, startMs }: { blocks: BlockStore; folder: string | null; startMs: number },
): Promise<InitialTree> {
  const entries = new Map<string, TreeEntry>();
  const held: string[] = [];
  const release = () => {
    for (const hash of held) blocks.release(hash);
  };
  const put = (content: Uint8Array) => {
    const hash = blocks.put(content);
    held.push(hash);
    return { hash, size: content.length };
  };
  try {
    if (config.from !== undefined)
      await addFolder(await folderOf(config.from, folder), entries, put, startMs);
    for (const [given, file] of Object.entries(config.initial)) {
      const at = checkedPath(given);
      if (at === '/') throw new CloveError('CONFIG', `files.initial: ${given} is the root`);
      const plain = typeof file === 'string' ? { content: file, encoding: 'utf8' as const } : file;
      if ('folder' in plain) {
        entries.set(at, { path: at, kind: 'folder', mode: plain.mode ?? 0o755, mtimeMs: startMs });
      } else if ('link' in plain) {
        entries.set(at, { path: at, kind: 'link', mode: 0o777, mtimeMs: startMs, target: plain.link });
      } else {
        const content = decode(at, plain.content, plain.encoding);
        const mode = ('mode' in plain ? plain.mode : undefined) ?? 0o644;
        const mtimeMs = 'modified' in plain ? timeOf(at, plain.modified, startMs) : startMs;
        entries.set(at, { path: at, kind: 'file', mode, mtimeMs, ...put(content) });
      }
    }
  } catch (error) {
    release();
    throw error;
  }
  return { entries: [...entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1)), release };
}

function decode(at: string, content: string, encoding: 'utf8' | 'base64'): Buffer {
  const bytes = Buffer.from(content, encoding);
  if (encoding === 'base64' && bytes.toString('base64') !== content) {
    throw new CloveError('CONFIG', `files.initial: ${at} is not base64`);
  }
  return bytes;
}

function timeOf(at: string, modified: number | string | undefined, startMs: number): number {
  if (modified === undefined) return startMs;
  const ms = typeof modified === 'number' ? modified : Date.parse(modified);
  if (Number.isNaN(ms)) throw new CloveError('CONFIG', `files.initial: ${at}: ${modified} is no time`);
  return ms;
}

async function folderOf(from: string, folder: string | null): Promise<string> {
  if (folder === null) {
    throw new CloveError('FORBIDDEN', `files.from: only a world read from a file may have a folder`);
  }
  const root = path.resolve(folder);
  const place = path.resolve(root, from);
  if (place !== root && !place.startsWith(`${root}${path.sep}`)) {
    throw new CloveError('PATH_REFUSED', `files.from: ${from} leads out of the folder of the world`);
  }
  return place;
}

/** Of the host's folder: regular files, folders, and links that stay within it. Anything else is an error. */
async function addFolder(
  root: string,
  entries: Map<string, TreeEntry>,
  put: (content: Uint8Array) => { hash: string; size: number },
  startMs: number,
): Promise<void> {
  let bytes = 0;
  const queue = [''];
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    const names = await readdir(path.join(root, at)).catch((cause: unknown) => {
      throw new CloveError('DATA_MISSING', `files.from: ${path.join(root, at)} cannot be read`, { cause });
    });
    for (const name of names) {
      const inside = checkedPath(`${at}/${name}`);
      const place = path.join(root, at, name);
      const facts = await lstat(place);
      if (entries.size >= MAX_TEMPLATE_FILES) {
        throw new CloveError('CONFIG', `files.from: more than ${MAX_TEMPLATE_FILES} files`);
      }
      const mode = facts.mode & 0o777;
      if (facts.isDirectory()) {
        entries.set(inside, { path: inside, kind: 'folder', mode, mtimeMs: startMs });
        queue.push(inside);
      } else if (facts.isSymbolicLink()) {
        entries.set(inside, {
          path: inside,
          kind: 'link',
          mode: 0o777,
          mtimeMs: startMs,
          target: await readlink(place),
        });
      } else if (facts.isFile()) {
        bytes += facts.size;
        if (bytes > MAX_TEMPLATE_BYTES) {
          throw new CloveError('CONFIG', `files.from: more than ${MAX_TEMPLATE_BYTES} bytes`);
        }
        entries.set(inside, {
          path: inside,
          kind: 'file',
          mode,
          mtimeMs: startMs,
          ...put(await readFile(place)),
        });
      } else {
        throw new CloveError('CONFIG', `files.from: ${inside} is neither a file, a folder nor a link`);
      }
    }
  }
}
