// The few library functions clove-init uses, straight on system calls. A static C library would work, but its start-up
// asks the processor what it can do (CPUID), and in a virtual machine every such question is a trip to the hypervisor:
// 0.26 ms of 0.38 ms for a program that does nothing. Declarations come from the usual headers.
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "../clock/raw.h"
#include "sys.h"

namespace {

using clove::clock::SystemCall;
using clove::clock::Value;

int errorNumber;

/** errno and -1, as programs expect it. */
long Answer(long result) {
  if (result >= 0 || result < -4095) return result;
  errorNumber = static_cast<int>(-result);
  return -1;
}

int Call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  return static_cast<int>(Answer(SystemCall(number, a, b, c, d, e, f)));
}

struct Output {
  char* at;
  char* end;
  int length;
  void Put(char c) {
    if (at < end) *at++ = c;
    length++;
  }
  void Number(unsigned long long value, unsigned base) {
    char digits[24];
    int count = 0;
    do digits[count++] = static_cast<char>('0' + value % base);
    while ((value /= base) != 0);
    while (count > 0) Put(digits[--count]);
  }
};

}  // namespace

extern "C" {

int* __errno_location() noexcept { return &errorNumber; }

// --- memory and text. The attribute keeps the compiler from seeing these loops as calls of themselves.
#define PLAIN __attribute__((optimize("no-tree-loop-distribute-patterns")))
PLAIN void* memcpy(void* to, const void* from, size_t size) noexcept {
  for (size_t i = 0; i < size; i++) static_cast<char*>(to)[i] = static_cast<const char*>(from)[i];
  return to;
}
PLAIN void* memset(void* to, int byte, size_t size) noexcept {
  for (size_t i = 0; i < size; i++) static_cast<char*>(to)[i] = static_cast<char>(byte);
  return to;
}
PLAIN size_t strlen(const char* text) noexcept {
  size_t length = 0;
  while (text[length] != 0) length++;
  return length;
}
PLAIN int strcmp(const char* a, const char* b) noexcept {
  while (*a != 0 && *a == *b) a++, b++;
  return static_cast<unsigned char>(*a) - static_cast<unsigned char>(*b);
}
char* FindCharacter(const char* text, int wanted) noexcept asm("strchr");  // the header has two overloads of that name
PLAIN char* FindCharacter(const char* text, int wanted) noexcept {
  for (;; text++) {
    if (*text == static_cast<char>(wanted)) return const_cast<char*>(text);
    if (*text == 0) return nullptr;
  }
}
long strtol(const char* text, char** end, int) noexcept {
  long value = 0;
  while (*text >= '0' && *text <= '9') value = value * 10 + (*text++ - '0');
  *end = const_cast<char*>(text);
  return value;
}

/** Of printf only %s %d %u %o %llu, without widths: all that clove-init uses. */
int vsnprintf(char* buffer, size_t size, const char* format, va_list arguments) noexcept {
  Output output{buffer, buffer + (size > 0 ? size - 1 : 0), 0};
  for (; *format != 0; format++) {
    if (*format != '%') {
      output.Put(*format);
      continue;
    }
    switch (*++format) {
      case 's':
        for (const char* text = va_arg(arguments, const char*); *text != 0; text++) output.Put(*text);
        break;
      case 'd': {
        const int value = va_arg(arguments, int);
        if (value < 0) output.Put('-');
        output.Number(value < 0 ? 0ull - static_cast<unsigned long long>(value) : static_cast<unsigned long long>(value), 10);
        break;
      }
      case 'u':
        output.Number(va_arg(arguments, unsigned), 10);
        break;
      case 'o':
        output.Number(va_arg(arguments, unsigned), 8);
        break;
      case 'l':
        format += 2;  // llu
        output.Number(va_arg(arguments, unsigned long long), 10);
        break;
      default:
        output.Put(*format);
        break;
    }
  }
  if (size > 0) *output.at = 0;
  return output.length;
}
int snprintf(char* buffer, size_t size, const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(buffer, size, format, arguments);
  va_end(arguments);
  return length;
}

// --- system calls
long syscall(long number, ...) noexcept {
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  return Answer(SystemCall(number, a[0], a[1], a[2], a[3], a[4], a[5]));
}

void _exit(int status) {
  for (;;) SystemCall(SYS_exit_group, status);
}
int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(list, int) : 0;
  va_end(list);
  return Call(SYS_openat, AT_FDCWD, Value(path), flags, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(list, int) : 0;
  va_end(list);
  return Call(SYS_openat, directory, Value(path), flags, mode);
}
int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  const long argument = va_arg(list, long);
  va_end(list);
  return Call(SYS_fcntl, fd, command, argument);
}
int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list list;
  va_start(list, request);
  const long argument = va_arg(list, long);
  va_end(list);
  return Call(SYS_ioctl, fd, static_cast<long>(request), argument);
}
int prctl(int option, ...) noexcept {
  va_list list;
  va_start(list, option);
  long a[4];
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  return Call(SYS_prctl, option, a[0], a[1], a[2], a[3]);
}
int close(int fd) { return Call(SYS_close, fd); }
ssize_t read(int fd, void* to, size_t size) { return Answer(SystemCall(SYS_read, fd, Value(to), static_cast<long>(size))); }
ssize_t write(int fd, const void* from, size_t size) { return Answer(SystemCall(SYS_write, fd, Value(from), static_cast<long>(size))); }
int dup(int fd) noexcept { return Call(SYS_dup, fd); }
int dup3(int from, int to, int flags) noexcept { return Call(SYS_dup3, from, to, flags); }
int dup2(int from, int to) noexcept { return from == to ? fcntl(from, F_GETFD) < 0 ? -1 : to : Call(SYS_dup3, from, to, 0); }
int chdir(const char* path) noexcept { return Call(SYS_chdir, Value(path)); }
int fchdir(int fd) noexcept { return Call(SYS_fchdir, fd); }
mode_t umask(mode_t mask) noexcept { return static_cast<mode_t>(Call(SYS_umask, mask)); }
int mkdir(const char* path, mode_t mode) noexcept { return Call(SYS_mkdirat, AT_FDCWD, Value(path), mode); }
int mkdirat(int directory, const char* path, mode_t mode) noexcept { return Call(SYS_mkdirat, directory, Value(path), mode); }
int mknod(const char* path, mode_t mode, dev_t device) noexcept { return Call(SYS_mknodat, AT_FDCWD, Value(path), mode, static_cast<long>(device)); }
int symlink(const char* target, const char* path) noexcept { return Call(SYS_symlinkat, Value(target), AT_FDCWD, Value(path)); }
int symlinkat(const char* target, int directory, const char* path) noexcept { return Call(SYS_symlinkat, Value(target), directory, Value(path)); }
ssize_t readlink(const char* path, char* to, size_t size) noexcept { return Call(SYS_readlinkat, AT_FDCWD, Value(path), Value(to), static_cast<long>(size)); }
int stat(const char* path, struct stat* info) noexcept { return Call(SYS_newfstatat, AT_FDCWD, Value(path), Value(info), 0); }
int lstat(const char* path, struct stat* info) noexcept { return Call(SYS_newfstatat, AT_FDCWD, Value(path), Value(info), AT_SYMLINK_NOFOLLOW); }
int fstat(int fd, struct stat* info) noexcept { return Call(SYS_fstat, fd, Value(info)); }
int mount(const char* source, const char* target, const char* type, unsigned long flags, const void* data) noexcept {
  return Call(SYS_mount, Value(source), Value(target), Value(type), static_cast<long>(flags), Value(data));
}
int umount2(const char* target, int flags) noexcept { return Call(SYS_umount2, Value(target), flags); }
void* mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  return reinterpret_cast<void*>(Answer(SystemCall(SYS_mmap, Value(at), static_cast<long>(size), protection, flags, fd, offset)));
}
int munmap(void* at, size_t size) noexcept { return Call(SYS_munmap, Value(at), static_cast<long>(size)); }
int socketpair(int domain, int type, int protocol, int pair[2]) noexcept { return Call(SYS_socketpair, domain, type, protocol, Value(pair)); }
int socket(int domain, int type, int protocol) noexcept { return Call(SYS_socket, domain, type, protocol); }
ssize_t sendmsg(int fd, const msghdr* message, int flags) { return Answer(SystemCall(SYS_sendmsg, fd, Value(message), flags)); }
ssize_t recvmsg(int fd, msghdr* message, int flags) { return Answer(SystemCall(SYS_recvmsg, fd, Value(message), flags)); }
ssize_t recv(int fd, void* to, size_t size, int flags) { return Answer(SystemCall(SYS_recvfrom, fd, Value(to), static_cast<long>(size), flags)); }
int poll(pollfd* sources, nfds_t count, int) {  // always without a time limit
  return Call(SYS_ppoll, Value(sources), static_cast<long>(count), 0, 0, 0); }
int signalfd(int fd, const sigset_t* mask, int flags) noexcept { return Call(SYS_signalfd4, fd, Value(mask), 8, flags); }
int kill(pid_t pid, int signal) noexcept { return Call(SYS_kill, pid, signal); }
pid_t waitpid(pid_t pid, int* status, int options) { return Call(SYS_wait4, pid, Value(status), options, 0); }
pid_t getpid() noexcept { return Call(SYS_getpid); }
pid_t setsid() noexcept { return Call(SYS_setsid); }
int pause() { return Call(SYS_ppoll, 0, 0, 0, 0, 0); }
int execve(const char* path, char* const argv[], char* const env[]) noexcept { return Call(SYS_execve, Value(path), Value(argv), Value(env)); }
int unshare(int flags) noexcept { return Call(SYS_unshare, flags); }
int sethostname(const char* name, size_t length) noexcept { return Call(SYS_sethostname, Value(name), static_cast<long>(length)); }
int getrusage(__rusage_who_t who, rusage* usage) noexcept { return Call(SYS_getrusage, who, Value(usage)); }
int prlimit(pid_t pid, __rlimit_resource resource, const rlimit* now, rlimit* before) noexcept {
  return Call(SYS_prlimit64, pid, resource, Value(now), Value(before));
}
int setgroups(size_t count, const gid_t* groups) noexcept { return Call(SYS_setgroups, static_cast<long>(count), Value(groups)); }
int getgroups(int count, gid_t* groups) noexcept { return Call(SYS_getgroups, count, Value(groups)); }
int setresuid(uid_t r, uid_t e, uid_t s) noexcept { return Call(SYS_setresuid, r, e, s); }
int setresgid(gid_t r, gid_t e, gid_t s) noexcept { return Call(SYS_setresgid, r, e, s); }
int getresuid(uid_t* r, uid_t* e, uid_t* s) noexcept { return Call(SYS_getresuid, Value(r), Value(e), Value(s)); }
int getresgid(gid_t* r, gid_t* e, gid_t* s) noexcept { return Call(SYS_getresgid, Value(r), Value(e), Value(s)); }
int clock_gettime(clockid_t clock, timespec* now) noexcept { return Call(SYS_clock_gettime, clock, Value(now)); }

// --- signals: 64 bits are all the kernel knows of the library's larger set
int sigemptyset(sigset_t* set) noexcept {
  memset(set, 0, sizeof *set);
  return 0;
}
int sigfillset(sigset_t* set) noexcept {
  memset(set, 0xff, sizeof *set);
  return 0;
}
int sigaddset(sigset_t* set, int signal) noexcept {
  *reinterpret_cast<uint64_t*>(set) |= 1ull << (signal - 1);
  return 0;
}
int sigprocmask(int how, const sigset_t* set, sigset_t* before) noexcept { return Call(SYS_rt_sigprocmask, how, Value(set), Value(before), 8); }

}  // extern "C"

namespace clove {

void DefaultSignal(int signal) {
  // The kernel's structure, all zero: SIG_DFL, no flags, no restorer, empty mask.
  const uint64_t standard[4] = {};
  SystemCall(SYS_rt_sigaction, signal, Value(standard), 0, 8);
}

int CloneWithStack(int (*entry)(void*), char* stackTop, unsigned long flags, void* argument, int* pidfd, int* childTid) {
#if defined(__x86_64__)
  register long result asm("rax") = SYS_clone;
  register unsigned long first asm("rdi") = flags;
  register char* second asm("rsi") = stackTop;
  register int* third asm("rdx") = pidfd;
  register int* fourth asm("r10") = childTid;
  register int (*function)(void*) asm("r12") = entry;
  register void* value asm("r13") = argument;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r13, %%rdi\n\t"
      "call *%%r12\n\t"
      "hlt\n"
      "1:"
      : "+r"(result)
      : "r"(first), "r"(second), "r"(third), "r"(fourth), "r"(function), "r"(value)
      : "rcx", "r8", "r9", "r11", "memory", "cc");
  return static_cast<int>(Answer(result));
#else
  register long number asm("x8") = SYS_clone;
  register long result asm("x0") = static_cast<long>(flags);
  register char* second asm("x1") = stackTop;
  register int* third asm("x2") = pidfd;
  register long fourth asm("x3") = 0;
  register int* fifth asm("x4") = childTid;
  register int (*function)(void*) asm("x19") = entry;
  register void* value asm("x20") = argument;
  asm volatile(
      "svc #0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x29, xzr\n\t"
      "mov x0, x20\n\t"
      "blr x19\n\t"
      "brk #1\n"
      "1:"
      : "+r"(result)
      : "r"(number), "r"(second), "r"(third), "r"(fourth), "r"(fifth), "r"(function), "r"(value)
      : "memory", "cc");
  return static_cast<int>(Answer(result));
#endif
}

}  // namespace clove

extern "C" {
int main();
[[noreturn]] __attribute__((used)) void clove_start() { _exit(main()); }
}

#if defined(__x86_64__)
asm(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall clove_start\n\thlt");
#else
asm(".globl _start\n_start:\n\tmov x29, xzr\n\tbl clove_start\n\tbrk #1");
#endif
