// What is left where clone3 cannot be called (HasClone3), and what can be made of namespaces at all: both decided by trying, once.
#pragma once
#include <stdint.h>

namespace clove {

/** clone(2) in place of clone3: `entry` runs on the stack below `stackTop`. Returns the pid or -errno. */
long CloneWithoutClone3(uint64_t flags, void* stackTop, int* pidfd, void (*entry)(void*), void* argument);

struct NamespaceFacts {
  /** Own: made by this process. User: below a user namespace, where only that is allowed. */
  enum Way { Own, User, None } way = None;
  int error = 0;      // errno of the refusal; 0 = none
  bool pivot = true;  // pivot_root is allowed in them
};
const NamespaceFacts& Namespaces();
/** Whether this number means a user here: in a user namespace most of them do not. */
bool IsMappedUser(uint32_t uid);
/** Nothing has to be made below a user namespace: this process is root, may make namespaces, and has this user to give. */
bool MakesOwnNamespaces(uint32_t uid);

}  // namespace clove
