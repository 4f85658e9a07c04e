import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, hostname, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot, packageVersion } from '../../native/package.ts';
import type { Machine } from '../types.ts';

const run = promisify(execFile);

/** Facts that decide how figures of this machine read. The host's name only as a hash: enough to tell machines apart. */
export async function machineFacts(): Promise<Machine> {
  const root = packageRoot();
  const git = existsSync(join(root, '.git')) ? await gitState(root) : { commit: null, dirty: null };
  const processors = cpus();
  return {
    hostnameHash: createHash('sha256').update(`clove/${hostname()}`).digest('hex').slice(0, 12),
    os: osName(),
    kernel: release(),
    cpuModel: processors[0]?.model.trim() || 'unknown',
    cores: processors.length,
    memoryBytes: totalmem(),
    node: process.versions.node,
    clove: packageVersion(),
    gitCommit: git.commit,
    gitDirty: git.dirty,
  };
}

async function gitState(root: string): Promise<{ commit: string | null; dirty: boolean | null }> {
  try {
    const options = { cwd: root, timeout: 5_000 };
    const { stdout: commit } = await run('git', ['rev-parse', 'HEAD'], options);
    const { stdout: changes } = await run('git', ['status', '--porcelain'], options);
    return { commit: commit.trim(), dirty: changes.trim() !== '' };
  } catch {
    // No git here, or a folder that git does not trust: then nothing is known.
    return { commit: null, dirty: null };
  }
}

function osName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux';
  } catch {
    return 'Linux';
  }
}
