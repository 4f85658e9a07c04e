// The one place that loads the binary.
import { createRequire } from 'node:module';
import { CloveError } from '../errors/index.ts';
import { ensureNative, type NativeFiles } from './build.ts';

let loaded: { readonly addon: unknown; readonly files: NativeFiles } | null = null;

function load(): { readonly addon: unknown; readonly files: NativeFiles } {
  if (loaded !== null) return loaded;
  if (process.platform !== 'linux') {
    throw new CloveError('SETUP_FAILED', `clove runs on Linux, not on ${process.platform}`, {
      hint: 'Use a Linux machine, a container or a virtual machine.',
    });
  }
  const sanitize = process.env.CLOVE_NATIVE_VARIANT === 'asan';
  // Some ten seconds, once per version: silence would look like a hang.
  const files = ensureNative({
    sanitize,
    onProgress: (line) => process.stderr.write(`clove: ${line}, once\n`),
  });
  try {
    loaded = { addon: createRequire(import.meta.url)(files.addon), files };
  } catch (error) {
    throw new CloveError('SETUP_FAILED', `the native part cannot be loaded: ${(error as Error).message}`, {
      cause: error,
      hint: sanitize
        ? 'Start Node with LD_PRELOAD=$(g++ -print-file-name=libasan.so).'
        : `Delete ${files.addon} and try again.`,
    });
  }
  return loaded;
}

/** Loads the addon, compiling it on the first use of this version. @throws SETUP_FAILED */
export function loadAddon(): Record<string, unknown> {
  return load().addon as Record<string, unknown>;
}

/** Path of the compiled addon. @throws SETUP_FAILED */
export function addonPath(): string {
  return load().files.addon;
}

/** Path of the compiled clove-init. @throws SETUP_FAILED */
export function initPath(): string {
  return load().files.init;
}
