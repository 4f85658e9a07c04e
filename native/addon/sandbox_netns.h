#pragma once
#include "sandbox_fd.h"

namespace clove {

/**
 * One network namespace, made ahead: making it is the longest single call of a spawn. Each is used once, by one
 * sandbox; when none is ready the clone makes its own.
 */
namespace spare_netns {
/** The ready one, or an invalid descriptor. */
Fd Take();
/** Makes the next one, in the background. Called when a launch is over, so that it does not compete with it. */
void Refill();
}  // namespace spare_netns

}  // namespace clove
