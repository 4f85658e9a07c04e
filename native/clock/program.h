// What a program is to the clock: told from its file before it is started. A library can be put only under programs of glibc; all others
// are started through clove-start (native/clock/start), which answers their system calls. Shared by all that start programs, hence neither
// a C library nor memory of its own.
#pragma once
#include <elf.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raw.h"

namespace clove::clock {

enum class ProgramKind : uint8_t { kUnknown, kCovered, kGo, kStatic, kOtherLibrary };

/** Below the folder that CLOVE_CLOCK names. */
inline constexpr const char kStartFile[] = "/world/clove-start";
/** Names the program to clove-start. */
inline constexpr const char kProgramVariable[] = "CLOVE_CLOCK_PROGRAM=";
inline constexpr const char kFolderVariable[] = "CLOVE_CLOCK=";
inline constexpr const char kPreloadVariable[] = "LD_PRELOAD=";
inline constexpr const char kLibraryName[] = "libclove_clock.so";
/** As much of a script's first line as the kernel looks at. */
inline constexpr size_t kScriptLine = 256;
inline constexpr int kMostInterpreters = 4;

inline bool BeginsWith(const char* text, const char* start) {
  for (; *start != 0; text++, start++)
    if (*text != *start) return false;
  return true;
}
inline size_t LengthOf(const char* text) {
  size_t length = 0;
  while (text[length] != 0) length++;
  return length;
}
inline bool Contains(const char* text, const char* part) {
  for (; *text != 0; text++)
    if (BeginsWith(text, part)) return true;
  return false;
}
inline char* Append(char* to, const char* text) {
  while (*text != 0) *to++ = *text++;
  *to = 0;
  return to;
}

inline bool ReadFileAt(int fd, uint64_t offset, void* to, size_t size) {
  return SystemCall(SYS_pread64, fd, Value(to), static_cast<long>(size), static_cast<long>(offset)) == static_cast<long>(size);
}

/** Of an ELF file of this machine; kUnknown: it is none. */
inline ProgramKind KindOfElf(int fd) {
  Elf64_Ehdr header;
#if defined(__x86_64__)
  constexpr uint16_t machine = EM_X86_64;
#else
  constexpr uint16_t machine = EM_AARCH64;
#endif
  if (!ReadFileAt(fd, 0, &header, sizeof header) || header.e_ident[0] != 0x7f || header.e_ident[1] != 'E' || header.e_ident[2] != 'L' ||
      header.e_ident[3] != 'F' || header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != machine)
    return ProgramKind::kUnknown;
  ProgramKind kind = ProgramKind::kStatic;
  for (int i = 0; i < header.e_phnum && i < 64; i++) {
    Elf64_Phdr segment;
    if (!ReadFileAt(fd, header.e_phoff + static_cast<uint64_t>(i) * header.e_phentsize, &segment, sizeof segment)) break;
    char text[256] = {};
    const size_t size = segment.p_filesz < sizeof text - 1 ? segment.p_filesz : sizeof text - 1;
    if (segment.p_type == PT_INTERP && ReadFileAt(fd, segment.p_offset, text, size)) {
      kind = Contains(text, "/ld-linux") ? ProgramKind::kCovered : ProgramKind::kOtherLibrary;
    } else if (segment.p_type == PT_NOTE && ReadFileAt(fd, segment.p_offset, text, size)) {
      // Go marks its programs with a note called "Go"; they read the clock without the C library even when they have it.
      if (size >= 16 && text[12] == 'G' && text[13] == 'o' && text[14] == 0) return ProgramKind::kGo;
    }
  }
  return kind;
}

/** A program that is to be started, after its interpreters have been found. */
struct Target {
  ProgramKind kind = ProgramKind::kUnknown;
  /** The ELF file: as given, or the last interpreter of a script. */
  const char* path = nullptr;
  /** Of a script: what comes between the interpreter's own name and argv[1]. */
  int prefixCount = 0;
  const char* prefix[2 * kMostInterpreters];
  char lines[kMostInterpreters][kScriptLine];
};

/** Looks at a file as execve would; kUnknown where that is better left to execve, which says what is wrong. */
inline void FindTarget(const char* path, Target& target) {
  target.path = path;
  target.kind = ProgramKind::kUnknown;
  target.prefixCount = 0;
  for (int depth = 0; depth <= kMostInterpreters; depth++) {
    if (SystemCall(SYS_faccessat, AT_FDCWD, Value(target.path), X_OK) != 0) return;
    const long fd = SystemCall(SYS_openat, AT_FDCWD, Value(target.path), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return;
    char first[kScriptLine];
    const long length = SystemCall(SYS_pread64, fd, Value(first), sizeof first - 1, 0);
    const bool isScript = length > 2 && first[0] == '#' && first[1] == '!';
    if (!isScript) target.kind = KindOfElf(static_cast<int>(fd));
    SystemCall(SYS_close, fd);
    if (!isScript || depth == kMostInterpreters) return;  // deeper: execve says ELOOP
    // "#! interpreter argument": the argument is one, with blanks in it or not.
    char* line = target.lines[depth];
    size_t used = 0;
    for (long i = 2; i < length && first[i] != '\n'; i++) line[used++] = first[i];
    const auto isBlank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
    while (used > 0 && isBlank(line[used - 1])) used--;
    line[used] = 0;
    char* name = line;
    while (isBlank(*name)) name++;
    char* end = name;
    while (*end != 0 && !isBlank(*end)) end++;
    char* argument = end;
    while (isBlank(*argument)) argument++;
    *end = 0;
    if (*name == 0) return;
    const char* longer[2 * kMostInterpreters + 2];
    int count = 0;
    if (*argument != 0) longer[count++] = argument;
    longer[count++] = target.path;
    for (int i = 0; i < target.prefixCount; i++) longer[count++] = target.prefix[i];
    for (int i = 0; i < count; i++) target.prefix[i] = longer[i];
    target.prefixCount = count;
    target.path = name;
  }
}

/** An environment and arguments that are being changed for one execve; room for them is the caller's. */
struct Start {
  const char* path;
  char* const* argv;
  char* const* environment;
};

inline size_t CountOf(char* const* list) {
  size_t count = 0;
  while (list != nullptr && list[count] != nullptr) count++;
  return count;
}
inline const char* FindVariable(char* const* environment, const char* name) {
  for (; environment != nullptr && *environment != nullptr; environment++)
    if (BeginsWith(*environment, name)) return *environment + LengthOf(name);
  return nullptr;
}

/** Copies an LD_PRELOAD entry without this library. False: nothing is left of it. */
inline bool WithoutLibrary(const char* entry, char* to) {
  char* at = Append(to, kPreloadVariable);
  char* const first = at;
  for (const char* name = entry + sizeof kPreloadVariable - 1; *name != 0;) {
    const char* end = name;
    while (*end != 0 && *end != ':' && *end != ' ') end++;
    const size_t length = static_cast<size_t>(end - name), own = sizeof kLibraryName - 1;
    const bool isOurs = length >= own && BeginsWith(end - own, kLibraryName);
    if (!isOurs && length > 0) {
      if (at != first) *at++ = ':';
      while (name < end) *at++ = *name++;
    }
    name = *end == 0 ? end : end + 1;
  }
  *at = 0;
  return at != first;
}

/** Bytes that Redirect needs: for pointers, and for text. */
inline size_t PointersFor(const Start& start, const Target& target) {
  return CountOf(start.environment) + 8 + (target.prefixCount == 0 ? 0 : CountOf(start.argv) + static_cast<size_t>(target.prefixCount) + 2);
}
inline size_t TextFor(const Start& start, const Target& target, const char* folder) {
  size_t preloads = 0;  // an environment may well name a variable twice
  for (char* const* entry = start.environment; entry != nullptr && *entry != nullptr; entry++)
    if (BeginsWith(*entry, kPreloadVariable)) preloads += LengthOf(*entry) + 1;
  return preloads + LengthOf(target.path) + 2 * LengthOf(folder) + 256;
}

/**
 * How a program is started that takes no library: through clove-start where there is one, and without the library in any case.
 * `folder` is that of CLOVE_CLOCK.
 */
inline Start Redirect(const Start& start, const Target& target, const char* folder, char** pointers, char* text) {
  Start changed = start;
  char* const startFile = text;
  text = Append(Append(text, folder), kStartFile) + 1;
  const bool hasStart = SystemCall(SYS_faccessat, AT_FDCWD, Value(startFile), X_OK) == 0;
  char** const environment = pointers;
  size_t n = 0;
  bool hasFolder = false;
  for (char* const* entry = start.environment; entry != nullptr && *entry != nullptr; entry++) {
    if (BeginsWith(*entry, kProgramVariable)) continue;
    hasFolder = hasFolder || BeginsWith(*entry, kFolderVariable);
    if (!BeginsWith(*entry, kPreloadVariable)) {
      environment[n++] = *entry;
    } else if (WithoutLibrary(*entry, text)) {
      environment[n++] = text;
      text += LengthOf(text) + 1;
    }
  }
  if (!hasFolder) {
    environment[n++] = text;
    text = Append(Append(text, kFolderVariable), folder) + 1;
  }
  if (hasStart) {
    environment[n++] = text;
    text = Append(Append(text, kProgramVariable), target.path) + 1;
  }
  environment[n++] = nullptr;
  changed.environment = environment;
  if (!hasStart) return changed;  // execve finds the interpreters of a script by itself
  changed.path = startFile;
  if (target.prefixCount == 0) return changed;
  char** const argv = pointers + n;
  n = 0;
  argv[n++] = const_cast<char*>(target.path);
  for (int i = 0; i < target.prefixCount; i++) argv[n++] = const_cast<char*>(target.prefix[i]);
  for (size_t i = 1; i < CountOf(start.argv); i++) argv[n++] = start.argv[i];
  argv[n] = nullptr;
  changed.argv = argv;
  return changed;
}

inline bool NeedsStart(ProgramKind kind) {
  return kind == ProgramKind::kGo || kind == ProgramKind::kStatic || kind == ProgramKind::kOtherLibrary;
}

}  // namespace clove::clock
