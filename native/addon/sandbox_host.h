#pragma once
#include <string>

namespace clove {

struct HostFacts {
  std::string kernelRelease, cgroup, controllers, unifiedPath;
  int landlockAbi = 0;
  bool seccomp = false, userNamespaces = false, clone3 = false, pivotRoot = false;
  std::string namespaces, namespacesError;  // own, user or none; and the errno of none
};
/** Measured by trying, not read from configuration. */
HostFacts MeasureHost();

}  // namespace clove
