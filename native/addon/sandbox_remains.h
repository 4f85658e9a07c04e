#pragma once
#include <stdint.h>

#include <string>

#include "sandbox_cgroup.h"
#include "sandbox_fd.h"

namespace clove {

/** What is left of a sandbox whose processes are all gone and whose figures have been read. */
struct Remains {
  std::string name;  // parent and name of the groups
  Cgroup cgroup;
  Fd mountNamespace, networkNamespace;
};

/**
 * A thread that takes such remains away. It takes as long as a small program's whole life, holds locks that starts of other
 * sandboxes want as well, and nobody waits for it: an end is told before.
 */
/** How long an answer that promises that nothing is left waits for the rest. */
constexpr uint32_t kSettleMs = 2000;

namespace remains {
void Leave(Remains left);
/** Waits until no group of this name is about to go (a new one of that name would go with it), for a moment at most. */
void AwaitName(const std::string& name);
/** Waits until no group below a parent is about to go ("" = none at all), for kSettleMs at most: what a dying process still holds takes longer. */
void Settle(const std::string& parent);
}  // namespace remains

}  // namespace clove
