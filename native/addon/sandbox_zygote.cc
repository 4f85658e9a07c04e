// The kernel's half of a birth from a template (native/zygote): the request, and the numbers of the new user namespace.
#include <limits.h>
#include <linux/sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "zygote_request.h"
#include "sandbox_service.h"

namespace clove {
namespace {

/** Lets the template's group put a process there: clone3 asks this of the group and of what both groups have in common. */
bool OpenToTemplate(int directory, uint32_t gid) {
  return fchownat(directory, "cgroup.procs", static_cast<uid_t>(-1), gid, 0) == 0 && fchmodat(directory, "cgroup.procs", 0664, 0) == 0;
}

bool WriteMap(int process, const char* name, uint32_t outer, uint32_t own) {
  const Fd fd(openat(process, name, O_WRONLY | O_CLOEXEC));
  const std::string map = "0 " + std::to_string(outer) + " 1\n" + std::to_string(own) + " " + std::to_string(own) + " 1\n";
  return fd.valid() && write(fd.get(), map.data(), map.size()) == static_cast<ssize_t>(map.size());
}

}  // namespace

Failure AskTemplate(Sandbox& sandbox, uint64_t namespaces, int initImage) {
  const LaunchRequest& request = sandbox.request;
  if (request.faultStep == S_clone) return {S_clone, request.faultErrno, "fault injection"};
  std::vector<int> fds{sandbox.childControl.get(), initImage};
  for (const Fd& tasks : sandbox.tasks) fds.push_back(tasks.get());
  ZygoteRequest ask{};
  ask.magic = ZYGOTE_MAGIC;
  ask.namespaces = namespaces | CLONE_NEWUSER;
  if ((request.disable & bit(L_cgroupns)) == 0) ask.namespaces |= CLONE_NEWCGROUP;
  if (const int unified = sandbox.cgroup.unified(); unified >= 0) {
    if (!OpenToTemplate(unified, request.templateGid)) return {S_clone, errno, "cgroup.procs"};
    const Fd above(openat(unified, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!above.valid() || !OpenToTemplate(above.get(), request.templateGid)) return {S_clone, errno, "cgroup.procs"};
    fds.push_back(unified);
    ask.hasUnified = 1;
  }
  ask.count = static_cast<uint32_t>(fds.size());
  if (fds.size() > MAX_ZYGOTE_FDS) return {S_clone, E2BIG, "too many control groups for a template"};

  iovec part{&ask, sizeof ask};
  alignas(cmsghdr) char control[CMSG_SPACE(MAX_ZYGOTE_FDS * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
  cmsghdr* entry = CMSG_FIRSTHDR(&message);
  entry->cmsg_level = SOL_SOCKET;
  entry->cmsg_type = SCM_RIGHTS;
  entry->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  memcpy(CMSG_DATA(entry), fds.data(), fds.size() * sizeof(int));
  // A template that does not keep up is a template that is not there: the caller has another way.
  if (sendmsg(request.templateChannel.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return {S_clone, errno, "the template takes no request"};
  return {};
}

void CloseGroup(const Sandbox& sandbox) {
  if (sandbox.cgroup.unified() >= 0) fchmodat(sandbox.cgroup.unified(), "cgroup.procs", 0644, 0);
}

Failure TakeOrderSocket(Sandbox& sandbox, const std::string& templateFilters) {
  const auto wrong = [](int error) { return Failure{S_clone, error, "the socket of PID 1 for its order"}; };
  const auto take = [&](int number) { return Fd(static_cast<int>(syscall(SYS_pidfd_getfd, sandbox.initPidfd.get(), number, 0))); };
  // It is clove-init's image. Should its execve not be over, this waits for that: then it has the name that an execve gives.
  if (take(INT_MAX).valid() || errno != EBADF) return wrong(errno);
  const std::string process = "/proc/" + std::to_string(sandbox.initPid);
  std::string name, status;
  if (!ReadFileAt(AT_FDCWD, (process + "/comm").c_str(), name) || !ReadFileAt(AT_FDCWD, (process + "/status").c_str(), status)) return wrong(errno);
  // Looked at afterwards: it lived, so the number was its own. This name it has given itself, with the socket in its place.
  if (HasEnded(sandbox.initPidfd.get()) || name != std::string(AWAITS_ORDER) + "\n") return wrong(EPERM);
  // One more filter is the template's own, and could answer system calls of PID 1 and of the agent with a success that they did not have.
  if (templateFilters.empty() || StatusField(status, "Seccomp_filters") != templateFilters)
    return {S_clone, EPERM, "its template has put a filter on it"};
  sandbox.templateFilters = templateFilters;
  Fd own = take(FD_ORDER);
  if (!own.valid()) return wrong(errno);
  ucred maker{};
  socklen_t size = sizeof maker;
  if (getsockopt(own.get(), SOL_SOCKET, SO_PEERCRED, &maker, &size) != 0) return wrong(errno);
  if (maker.pid != sandbox.initPid) return wrong(EPERM);
  sandbox.agentControl = std::exchange(sandbox.control, std::move(own));
  return {};
}

Failure MapUsers(Sandbox& sandbox) {
  const LaunchRequest& request = sandbox.request;
  if (request.faultStep == S_id_maps) return {S_id_maps, request.faultErrno, "fault injection"};
  const Fd process(open(("/proc/" + std::to_string(sandbox.initPid)).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!process.valid()) return {S_id_maps, errno, "/proc/<pid>"};
  // It lives after the folder was opened: the number was its own, and the folder is.
  if (HasEnded(sandbox.initPidfd.get())) return {S_id_maps, ESRCH, "PID 1 has ended"};
  if (!WriteMap(process.get(), "uid_map", request.templateUid, request.uid)) return {S_id_maps, errno, "uid_map"};
  if (!WriteMap(process.get(), "gid_map", request.templateGid, request.gid)) return {S_id_maps, errno, "gid_map"};
  return {};
}

}  // namespace clove
