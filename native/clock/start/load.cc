// Maps a program as execve would.
#include <errno.h>
#include <sys/mman.h>

#include "start.h"

namespace clove::clock {

namespace {

constexpr uintptr_t kPage = 4096;
constexpr int kMostSegments = 64;
uintptr_t Floor(uintptr_t at) { return at & ~(kPage - 1); }
uintptr_t Ceiling(uintptr_t at) { return Floor(at + kPage - 1); }
bool IsError(long result) { return result < 0 && result >= -kError; }

struct Image {
  uintptr_t base = 0;  // what is added to its addresses
  Elf64_Ehdr header;
  Elf64_Phdr segments[kMostSegments];
  uintptr_t headers = 0;
};

long MapSegment(int fd, const Elf64_Phdr& segment, uintptr_t base) {
  const int protection = ((segment.p_flags & PF_R) != 0 ? PROT_READ : 0) | ((segment.p_flags & PF_W) != 0 ? PROT_WRITE : 0) |
                         ((segment.p_flags & PF_X) != 0 ? PROT_EXEC : 0);
  const uintptr_t from = base + segment.p_vaddr, fileEnd = from + segment.p_filesz, end = from + segment.p_memsz;
  const uintptr_t first = Floor(from);
  uintptr_t mappedEnd = first;
  if (segment.p_filesz > 0) {
    const long mapped = SystemCall(SYS_mmap, static_cast<long>(first), static_cast<long>(fileEnd - first), protection, MAP_PRIVATE | MAP_FIXED, fd,
                                   static_cast<long>(segment.p_offset - (from - first)));
    if (IsError(mapped)) return mapped;
    mappedEnd = Ceiling(fileEnd);
    // To the end of the page, as the kernel does: glibc's loader takes what follows its data for empty.
    if (end > fileEnd && (segment.p_flags & PF_W) != 0) __builtin_memset(reinterpret_cast<void*>(fileEnd), 0, mappedEnd - fileEnd);
  }
  if (Ceiling(end) <= mappedEnd) return 0;
  const long mapped = SystemCall(SYS_mmap, static_cast<long>(mappedEnd), static_cast<long>(Ceiling(end) - mappedEnd), protection,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  return IsError(mapped) ? mapped : 0;
}

long MapImage(int fd, Image& image) {
  if (!ReadFileAt(fd, 0, &image.header, sizeof image.header) || KindOfElf(fd) == ProgramKind::kUnknown) return -ENOEXEC;
  const Elf64_Ehdr& header = image.header;
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phnum > kMostSegments ||
      (header.e_type != ET_EXEC && header.e_type != ET_DYN) ||
      !ReadFileAt(fd, header.e_phoff, image.segments, header.e_phnum * sizeof(Elf64_Phdr)))
    return -ENOEXEC;
  uintptr_t low = UINTPTR_MAX, high = 0, alignment = kPage;
  for (int i = 0; i < header.e_phnum; i++) {
    const Elf64_Phdr& segment = image.segments[i];
    if (segment.p_type != PT_LOAD) continue;
    if (segment.p_vaddr < low) low = segment.p_vaddr;
    if (segment.p_vaddr + segment.p_memsz > high) high = segment.p_vaddr + segment.p_memsz;
    if (segment.p_align > alignment) alignment = segment.p_align;
    if (header.e_phoff >= segment.p_offset && header.e_phoff < segment.p_offset + segment.p_filesz)
      image.headers = segment.p_vaddr + (header.e_phoff - segment.p_offset);
  }
  if (low >= high) return -ENOEXEC;
  low = Floor(low);
  // One reservation for all, so that nothing else comes between.
  const bool isFixed = header.e_type == ET_EXEC;
  const uintptr_t span = Ceiling(high) - low, slack = isFixed ? 0 : alignment;
  const long reserved = SystemCall(SYS_mmap, isFixed ? static_cast<long>(low) : 0, static_cast<long>(span + slack), PROT_NONE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (isFixed ? MAP_FIXED_NOREPLACE : 0), -1, 0);
  if (IsError(reserved)) return reserved;
  if (isFixed && static_cast<uintptr_t>(reserved) != low) return -ENOMEM;
  if (!isFixed) image.base = (static_cast<uintptr_t>(reserved) + alignment - 1) / alignment * alignment - low;
  for (int i = 0; i < header.e_phnum; i++) {
    if (image.segments[i].p_type != PT_LOAD) continue;
    if (const long result = MapSegment(fd, image.segments[i], image.base); result < 0) return result;
  }
  image.headers += image.base;
  return 0;
}

}  // namespace

long LoadProgram(int fd, Loaded& loaded) {
  static Image program, interpreter;
  if (const long result = MapImage(fd, program); result < 0) return result;
  loaded.programEntry = loaded.entry = program.base + program.header.e_entry;
  loaded.headers = program.headers;
  loaded.headerCount = program.header.e_phnum;
  for (int i = 0; i < program.header.e_phnum; i++) {
    const Elf64_Phdr& segment = program.segments[i];
    if (segment.p_type == PT_GNU_STACK) loaded.hasExecutableStack = (segment.p_flags & PF_X) != 0;
    if (segment.p_type != PT_INTERP) continue;
    char path[4096];
    if (segment.p_filesz >= sizeof path || !ReadFileAt(fd, segment.p_offset, path, segment.p_filesz)) return -ENOEXEC;
    path[segment.p_filesz] = 0;
    const long other = SystemCall(SYS_openat, AT_FDCWD, Value(path), O_RDONLY | O_CLOEXEC);
    if (other < 0) return other;
    const long result = MapImage(static_cast<int>(other), interpreter);
    SystemCall(SYS_close, other);
    if (result < 0) return result;
    loaded.interpreterBase = interpreter.base;
    loaded.entry = interpreter.base + interpreter.header.e_entry;
  }
  return 0;
}

}  // namespace clove::clock
