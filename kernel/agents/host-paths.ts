import { constants, type Stats } from 'node:fs';
import { access, lstat, readdir, readFile, realpath, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

/** Folders of the system that a sandbox sees anyway. */
const INSIDE_ANYWAY = ['/usr', '/bin', '/sbin', '/lib', '/lib64'];

/** A folder with one of these is somebody's home or holds secrets: it is never given whole. */
const PRIVATE_ENTRIES = new Set([
  '.ssh',
  '.gnupg',
  '.aws',
  '.azure',
  '.kube',
  '.docker',
  '.netrc',
  '.npmrc',
  '.pypirc',
  '.git-credentials',
  '.bashrc',
  '.zshrc',
  '.profile',
  '.bash_history',
  '.env',
]);

export function isInsideAnyway(file: string): boolean {
  return INSIDE_ANYWAY.some((folder) => file === folder || file.startsWith(`${folder}/`));
}

/**
 * Why a folder is too broad to be mounted for one agent, or null. Broad are: everything right below `/` (also /tmp, /home,
 * /root), every home directory and what lies above one, and folders that hold keys or settings of a user.
 */
export async function whyTooBroad(folder: string): Promise<string | null> {
  if (folder === '/' || path.dirname(folder) === '/') return `${folder} is a top folder`;
  for (const home of await homeDirectories()) {
    if (home === folder || home.startsWith(`${folder}/`)) return `${folder} is or holds a home directory`;
  }
  const found = (await readdir(folder).catch(() => [])).find((entry) => PRIVATE_ENTRIES.has(entry));
  return found === undefined ? null : `${folder} holds ${found}`;
}

let homes: Promise<readonly string[]> | undefined;

function homeDirectories(): Promise<readonly string[]> {
  homes ??= readFile('/etc/passwd', 'utf8')
    .catch(() => '')
    .then((text) => {
      const listed = text.split('\n').flatMap((line) => line.split(':')[5] ?? []);
      // Service users have `/`, /usr/sbin, /bin and the like: not homes in the sense meant here.
      return [os.homedir(), ...listed].filter((home) => home.length > 1 && !isInsideAnyway(home));
    });
  return homes;
}

/** Whether a user who is neither owner nor in the group can read a file, or list and enter a folder. */
export function isOpenToOthers(stats: Stats): boolean {
  const needed = stats.isDirectory() ? constants.S_IROTH | constants.S_IXOTH : constants.S_IROTH;
  return (stats.mode & needed) === needed;
}

/** An existing path with its links resolved, or null. */
export async function existing(file: string): Promise<{ real: string; stats: Stats } | null> {
  try {
    const real = await realpath(file);
    return { real, stats: await stat(real) };
  } catch {
    return null;
  }
}

export async function isExecutableFile(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

export async function exists(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    () => false,
  );
}
