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
int descriptors[kFirstMount + MAX_MOUNTS + 1];

/** The message with its descriptors; their number, or -1 when whoever sends it is gone. */
int ReceiveOrder(int socket, MessageKind kind, Message& message) {
  alignas(cmsghdr) static char control[CMSG_SPACE(sizeof descriptors)];
  iovec part{&message, sizeof message};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t size = RetryOnEintr([&] { return recvmsg(socket, &header, MSG_CMSG_CLOEXEC); });
  const cmsghdr* entry = CMSG_FIRSTHDR(&header);
  if (size < static_cast<ssize_t>(MESSAGE_HEAD) || message.kind != kind || entry == nullptr || entry->cmsg_type != SCM_RIGHTS) return -1;
  const auto bytes = entry->cmsg_len - CMSG_LEN(0);
  memcpy(descriptors, CMSG_DATA(const_cast<cmsghdr*>(entry)), bytes);
  return static_cast<int>(bytes / sizeof(int));
}

void TakeStreams() {
  for (int fd = 0; fd < kStdio; fd++) {
    if (dup2(descriptors[1 + fd], fd) < 0) Fail(S_plan_read, errno, "standard streams");
    close(descriptors[1 + fd]);
  }
}

}  // namespace

bool AwaitGate(MessageKind kind) {
  Message message;
  const ssize_t size = RetryOnEintr([&] { return recv(FD_CONTROL, &message, sizeof message, 0); });
  return size >= static_cast<ssize_t>(MESSAGE_HEAD) && message.kind == kind;
}

bool Relocate(char* base, uint64_t size, const Command& command) {
  const auto table = [&](uint32_t offset, uint32_t count) {
    if (offset % 8 != 0 || offset + (static_cast<uint64_t>(count) + 1) * 8 > size) return false;
    auto* entries = reinterpret_cast<uint64_t*>(base + offset);
    for (uint32_t i = 0; i < count; i++) {
      if (entries[i] == 0 || entries[i] >= size) return false;
      entries[i] += reinterpret_cast<uint64_t>(base);
    }
    return entries[count] == 0;
  };
  return command.argc > 0 && command.cwd != 0 && command.cwd < size && command.searchPath < size && table(command.argv, command.argc) &&
         table(command.env, command.envc);
}

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

#ifndef CLOVE_ZYGOTE
void AwaitOrder() {
  const Plan before = *plan;
  Message message;
  SendSimple(M_PREPARED, 0, 0, 0, 0);
  const int count = ReceiveOrder(FD_CONTROL, M_ORDER, message);
  if (count < kFirstMount) _exit(125);
  ReadPlan(descriptors[0]);
  // What is built already must be what this agent was promised.
  if (plan->disable != before.disable || plan->profile != before.profile || plan->hostNetwork != before.hostNetwork || plan->userns != 0 ||
      plan->mountCount != static_cast<uint32_t>(count - kFirstMount))
    Fail(S_plan_read, EBADMSG, "not the sandbox that was made ahead");
  TakeStreams();
  TakeMountTrees(descriptors + kFirstMount);
}

void AwaitFirstOrder(int socket) {
  Message message;
  const int count = ReceiveOrder(socket, M_ORDER, message) - 1;
  // The control socket is the last one. Made elsewhere, it is none of the agent's network, where the agent would see it.
  if (count < kFirstMount || dup3(descriptors[count], FD_CONTROL, O_CLOEXEC) < 0) _exit(125);
  close(descriptors[count]);
  close(socket);
  ReadPlan(fcntl(descriptors[0], F_DUPFD_CLOEXEC, 0));  // the agent maps it too
  if (plan->role != ROLE_FORKED || plan->mountCount != static_cast<uint32_t>(count - kFirstMount))
    Fail(S_plan_read, EBADMSG, "not for an agent of a template");
}

const int* ReceiveProgram() {
  Message message;
  return ReceiveOrder(FD_CONTROL, M_GATE2, message) == kFirstMount ? descriptors : nullptr;
}

void TakeOrderedMounts() { TakeMountTrees(descriptors + kFirstMount); }

bool PassOrder(int socket) {
  Message message{};
  message.kind = M_ORDER;
  message.wallUs = ready.onMask;
  const bool sent = SendTo(socket, &message, MESSAGE_HEAD, descriptors, kFirstMount);
  for (int i = 0; i < kFirstMount; i++) close(descriptors[i]);
  return sent;
}

#endif

void TakeOrder(int socket) {
  Message message;
  if (ReceiveOrder(socket, M_ORDER, message) != kFirstMount) _exit(125);
  ReadPlan(descriptors[0]);
  ready.onMask = message.wallUs;
  TakeStreams();
}

}  // namespace clove
