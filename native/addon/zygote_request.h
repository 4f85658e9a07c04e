// What the kernel process asks of a template: one SEQPACKET message with its descriptors, one agent.
#pragma once
#include <stdint.h>

namespace clove {

constexpr uint32_t ZYGOTE_MAGIC = 0x434c565a;
/** Descriptors of the runtime stay below; those of the agent's setup go here (CLOVE_FIRST_FD of the build). */
constexpr int ZYGOTE_FIRST_FD = 512;
constexpr uint32_t MAX_ZYGOTE_FDS = 32;

/** The descriptors, in this order: control, the image of clove-init, v1 groups, then the v2 group. */
struct ZygoteRequest {
  uint32_t magic;
  uint32_t count;       // of all descriptors
  uint32_t hasUnified;  // 1: the last one is the folder of a cgroup v2 to be born into
  uint32_t reserved;
  uint64_t namespaces;  // CLONE_NEW*; the one of cgroups is made last, in the groups
};

}  // namespace clove
