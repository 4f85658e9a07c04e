// The first instruction, and everything until the program's own.
#include <errno.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "start.h"

namespace clove::clock {

namespace {

[[noreturn]] void End(const char* what, long error) {
  char text[160];
  char* at = Append(Append(Append(text, "clove-start: "), what), " (errno ");
  error = error < 0 ? -error : error;
  if (error >= 100) *at++ = static_cast<char>('0' + error / 100);
  if (error >= 10) *at++ = static_cast<char>('0' + error / 10 % 10);
  *at++ = static_cast<char>('0' + error % 10);
  at = Append(at, ")\n");
  SystemCall(SYS_write, 2, Value(text), at - text);
  for (;;) SystemCall(SYS_exit_group, 126);
}

void TakeAway(char** list, const char* name) {
  char** to = list;
  for (char** from = list; *from != nullptr; from++)
    if (!BeginsWith(*from, name)) *to++ = *from;
  *to = nullptr;
}

/** clove-start PROGRAM ARGUMENTS: as an execve of the program in a world with a clock. */
[[noreturn]] void StartArguments(int count, char** argv, char** environment) {
  if (count < 2) End("there is no program to start", EINVAL);
  Start start{argv[1], argv + 1, environment};
  Target target;
  FindTarget(start.path, target);
  const char* const folder = FindVariable(environment, kFolderVariable);
  if (folder != nullptr && NeedsStart(target.kind))
    start = Redirect(start, target, folder, static_cast<char**>(__builtin_alloca(PointersFor(start, target) * sizeof(char*))),
                     static_cast<char*>(__builtin_alloca(TextFor(start, target, folder))));
  End("the program cannot be started", SystemCall(SYS_execve, Value(start.path), Value(start.argv), Value(start.environment)));
}

/** Moves what follows the removed variable down, and drops and changes entries of the auxiliary vector: the stack as the program expects it. */
void FurnishStack(char** environment, const Loaded& loaded) {
  char** end = environment;
  while (*end != nullptr) end++;
  const auto* from = reinterpret_cast<const Elf64_auxv_t*>(end + 1);
  TakeAway(environment, kProgramVariable);
  end = environment;
  while (*end != nullptr) end++;
  auto* to = reinterpret_cast<Elf64_auxv_t*>(end + 1);
  for (;; from++) {
    Elf64_auxv_t entry = *from;
    if (entry.a_type == AT_SYSINFO_EHDR) continue;  // the vDSO answers without a system call
    if (entry.a_type == AT_PHDR) entry.a_un.a_val = loaded.headers;
    if (entry.a_type == AT_PHNUM) entry.a_un.a_val = loaded.headerCount;
    if (entry.a_type == AT_ENTRY) entry.a_un.a_val = loaded.programEntry;
    if (entry.a_type == AT_BASE) entry.a_un.a_val = loaded.interpreterBase;
    if (entry.a_type == AT_EXECFN) entry.a_un.a_val = reinterpret_cast<uint64_t>(ProgramPath());
    *to++ = entry;
    if (entry.a_type == AT_NULL) break;
  }
}

void TakeName(const char* path) {
  const char* name = path;
  for (const char* at = path; *at != 0; at++)
    if (*at == '/') name = at + 1;
  SystemCall(SYS_prctl, PR_SET_NAME, Value(name));
}

}  // namespace

/** From the stack that the kernel made; where the program begins. */
extern "C" uintptr_t clove_start(long* stack) {
  const auto count = static_cast<int>(stack[0]);
  char** const argv = reinterpret_cast<char**>(stack + 1);
  char** const environment = argv + count + 1;
  const char* const path = FindVariable(environment, kProgramVariable);
  if (path == nullptr) StartArguments(count, argv, environment);
  const bool isOpen = OpenWorld(FindVariable(environment, kFolderVariable));
  PrepareSignals();
  const bool isTrapping = IsTrapping();
  // As it would be without us: what cannot be covered is named by the coordinator.
  const auto startPlainly = [&](const char* what, long error) {
    if (isTrapping) End(what, error);
    TakeAway(environment, kProgramVariable);
    End("the program cannot be started", SystemCall(SYS_execve, Value(path), Value(argv), Value(environment)));
  };
  if (!isTrapping && (!isOpen || IsStrict())) startPlainly("", 0);
  const long fd = SystemCall(SYS_openat, AT_FDCWD, Value(path), O_RDONLY | O_CLOEXEC);
  if (fd < 0) startPlainly("the program cannot be read", fd);
  SetProgram(static_cast<int>(fd), path);
  Loaded loaded;
  if (const long error = LoadProgram(static_cast<int>(fd), loaded); error < 0) startPlainly("the program cannot be mapped", error);
  SystemCall(SYS_close, fd);
  if (!isTrapping)
    if (const long error = InstallFilter(); error < 0) startPlainly("the filter was refused", error);
  OwnSlot();
  if (isOpen) PrepareTimers();
  TakeName(ProgramPath());
  if (loaded.hasExecutableStack)
    SystemCall(SYS_mprotect, static_cast<long>(reinterpret_cast<uintptr_t>(stack) & ~uintptr_t{4095}), 4096,
               PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN);
  FurnishStack(environment, loaded);
  return loaded.entry;
}

__asm__(R"(
.text
.globl _start
_start:
  xorl %ebp, %ebp
  movq %rsp, %rbx
  movq %rsp, %rdi
  andq $-16, %rsp
  call clove_start
  movq %rbx, %rsp
  xorl %edx, %edx
  xorl %ebx, %ebx
  jmp *%rax
)");

}  // namespace clove::clock
