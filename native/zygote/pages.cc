// What a fork costs is mostly the entries of page tables that it copies: one for every page a template has written. Gathered
// into huge pages they are one for five hundred of them.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zygote.h"

namespace {

constexpr uintptr_t kHuge = 2 << 20, kPage = 4096;
constexpr int kCollapse = 25;  // MADV_COLLAPSE, of newer headers
// A stack that is hardly used would only grow.
constexpr int kEnough = kHuge / kPage * 3 / 4;

bool IsMostlyThere(void* place) {
  static unsigned char resident[kHuge / kPage];
  if (mincore(place, kHuge, resident) != 0) return false;
  int count = 0;
  for (const unsigned char page : resident) count += page & 1;
  return count >= kEnough;
}

}  // namespace

int clove_zygote_settle() {
  if (sysconf(_SC_PAGESIZE) != static_cast<long>(kPage)) return 0;
  FILE* const maps = fopen("/proc/self/maps", "re");
  if (maps == nullptr) return 0;
  int collapsed = 0;
  char line[512];
  while (fgets(line, sizeof line, maps) != nullptr) {
    unsigned long from = 0, to = 0, inode = 0;
    char rights[8] = "", name[256] = "";
    if (sscanf(line, "%lx-%lx %7s %*s %*s %lu %255s", &from, &to, rights, &inode, name) < 4) continue;
    if (strcmp(rights, "rw-p") != 0 || inode != 0 || strcmp(name, "[stack]") == 0) continue;
    for (uintptr_t at = (from + kHuge - 1) / kHuge * kHuge; at + kHuge <= to; at += kHuge) {
      auto* const place = reinterpret_cast<void*>(at);
      // Refused by an older Linux, and where there is no huge page to be had: a fork costs more then, and that is all.
      if (IsMostlyThere(place) && syscall(SYS_madvise, place, kHuge, kCollapse) == 0) collapsed++;
    }
  }
  fclose(maps);
  return collapsed;
}
