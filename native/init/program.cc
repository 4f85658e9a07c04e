// Starting a program in a world with a clock of its own: what takes no library is told from its file first.
#include "../clock/program.h"

#include "init.h"

namespace clove {

namespace {

alignas(16) char text[16 << 10];
char* pointers[4096];
clock::Target target;

}  // namespace

int ExecuteProgram(const char* path, char* const* argv, char* const* environment) {
  const char* const folder = clock::FindVariable(environment, clock::kFolderVariable);
  clock::Start start{path, argv, environment};
  if (folder != nullptr) {
    clock::FindTarget(path, target);
    if (clock::NeedsStart(target.kind) && clock::PointersFor(start, target) <= sizeof pointers / sizeof *pointers &&
        clock::TextFor(start, target, folder) <= sizeof text)
      start = clock::Redirect(start, target, folder, pointers, text);
  }
  return execve(start.path, start.argv, start.environment);
}

}  // namespace clove
