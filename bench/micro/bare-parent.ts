import { NativeTimer } from './native-timer.ts';

const SOURCE = `
#include <spawn.h>
#include <sys/wait.h>

static bool Begin(int count, char**) { return count > 1; }

static bool Once(char** arguments) {
  char* none[] = {nullptr};
  pid_t pid;
  int status;
  if (posix_spawn(&pid, arguments[1], nullptr, nullptr, arguments + 1, none) != 0) return false;
  return waitpid(pid, &status, 0) == pid && status == 0;
}
`;

/**
 * A parent of a few hundred KiB that starts programs by posix_spawn (vfork): what a start costs that does nothing but start. Node's own
 * children cost a fork of Node.
 */
export function bareParent(folder: string, argv: readonly string[]): NativeTimer {
  return new NativeTimer(folder, 'parent', SOURCE, argv);
}
