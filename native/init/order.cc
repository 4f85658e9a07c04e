// Plans: the first comes with the start; a sandbox made ahead gets a second one, for the agent it will hold.
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "init.h"

namespace clove {
namespace {

constexpr int kStdio = 3;
constexpr int kFirstMount = 1 + kStdio;
int descriptors[kFirstMount + MAX_MOUNTS];

/** The message with its descriptors; their number, or -1 when the kernel process is gone. */
int ReceiveOrder() {
  alignas(cmsghdr) static char control[CMSG_SPACE(sizeof descriptors)];
  Message message;
  iovec part{&message, sizeof message};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t size = RetryOnEintr([&] { return recvmsg(FD_CONTROL, &header, MSG_CMSG_CLOEXEC); });
  const cmsghdr* entry = CMSG_FIRSTHDR(&header);
  if (size < static_cast<ssize_t>(MESSAGE_HEAD) || message.kind != M_ORDER || entry == nullptr || entry->cmsg_type != SCM_RIGHTS) return -1;
  const auto bytes = entry->cmsg_len - CMSG_LEN(0);
  memcpy(descriptors, CMSG_DATA(const_cast<cmsghdr*>(entry)), bytes);
  return static_cast<int>(bytes / sizeof(int));
}

}  // namespace

void ReadPlan(int descriptor) {
  struct stat info {};
  if (fstat(descriptor, &info) != 0 || static_cast<uint64_t>(info.st_size) < sizeof(Plan)) _exit(125);
  const auto size = static_cast<uint64_t>(info.st_size);
  void* mapping = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, descriptor, 0);
  if (mapping == MAP_FAILED) _exit(125);
  close(descriptor);
  if (plan != nullptr) munmap(plan, plan->size);
  plan = static_cast<Plan*>(mapping);
  if (plan->magic != PLAN_MAGIC || plan->size != size) _exit(125);
  if (Faulted(S_plan_read)) Fail(S_plan_read, errno, "");
  if (!Relocate(static_cast<char*>(mapping), size, plan->command)) Fail(S_plan_read, EBADMSG, "argv or env");
}

void AwaitOrder() {
  const Plan before = *plan;
  SendSimple(M_PREPARED, 0, 0, 0, 0);
  const int count = ReceiveOrder();
  if (count < kFirstMount) _exit(125);
  ReadPlan(descriptors[0]);
  // What is built already must be what this agent was promised.
  if (plan->disable != before.disable || plan->profile != before.profile || plan->hostNetwork != before.hostNetwork || plan->userns != 0 ||
      plan->mountCount != static_cast<uint32_t>(count - kFirstMount))
    Fail(S_plan_read, EBADMSG, "not the sandbox that was made ahead");
  for (int fd = 0; fd < kStdio; fd++) {
    if (dup2(descriptors[1 + fd], fd) < 0) Fail(S_plan_read, errno, "standard streams");
    close(descriptors[1 + fd]);
  }
  TakeMountTrees(descriptors + kFirstMount);
}

}  // namespace clove
