#pragma once
#include <string>

namespace clove {

struct HostFacts {
  std::string kernelRelease, cgroup, controllers, unifiedPath;
  int landlockAbi = 0;
  bool seccomp = false, userNamespaces = false;
};
/** Measured by trying, not read from configuration. */
HostFacts MeasureHost();

}  // namespace clove
