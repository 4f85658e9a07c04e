// The second opinion: what /proc says about the agent, read by the kernel before the agent may run.
#include <stdio.h>
#include <sys/stat.h>

#include "sandbox_service.h"

namespace clove {
namespace {

const struct {
  Layer layer;
  const char* file;
} kNamespaces[] = {{L_mntns, "ns/mnt"}, {L_pidns, "ns/pid"}, {L_netns, "ns/net"}, {L_ipcns, "ns/ipc"}, {L_utsns, "ns/uts"}, {L_cgroupns, "ns/cgroup"}, {L_userns, "ns/user"}};

std::string LinkAt(int directory, const char* name) {
  char target[64];
  const ssize_t length = readlinkat(directory, name, target, sizeof target);
  return length > 0 ? std::string(target, static_cast<size_t>(length)) : std::string();
}

/** Which mount a process has for its root, and which folder of it. */
bool RootOf(pid_t pid, uint64_t (&facts)[2]) {
  struct statx info {};
  if (statx(AT_FDCWD, ("/proc/" + std::to_string(pid) + "/root").c_str(), AT_STATX_DONT_SYNC, STATX_INO | 0x1000 /* STATX_MNT_ID */, &info) != 0) return false;
  facts[0] = info.stx_mnt_id;
  facts[1] = info.stx_ino;
  return true;
}

bool IsZeroHex(const std::string& text) { return !text.empty() && text.find_first_not_of('0') == std::string::npos; }

}  // namespace

std::string StatusField(const std::string& status, const char* name) {
  const std::string key = std::string("\n") + name + ":\t";
  const size_t at = status.find(key);
  if (at == std::string::npos) return "?";
  const size_t from = at + key.size(), end = status.find('\n', from);
  return status.substr(from, end - from);
}

Failure Verify(Sandbox& sandbox) {
  if (sandbox.request.faultStep == S_verify) return {S_verify, sandbox.request.faultErrno, "fault injection"};
  const auto wrong = [](const std::string& what) { return Failure{S_verify, EPERM, what}; };
  const Fd process(open(("/proc/" + std::to_string(sandbox.agentPid)).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::string status, groups, problem;
  if (!process.valid() || !ReadFileAt(process.get(), "status", status) || !ReadFileAt(process.get(), "cgroup", groups))
    return {S_verify, errno, "/proc/<agent> cannot be read"};
  // The report of a template's agent comes out of the template's memory: what is required of it is looked at whatever that says.
  const uint64_t regardless = sandbox.request.role == ROLE_FORKED ? sandbox.request.require : 0;
  const auto on = [&](Layer layer) { return sandbox.layers[layer].state == STATE_ON || (regardless & bit(layer)) != 0; };

  if (on(L_uid)) {
    const std::string uid = std::to_string(sandbox.request.uid), gid = std::to_string(sandbox.request.gid);
    const auto four = [](const std::string& id) { return id + "\t" + id + "\t" + id + "\t" + id; };
    if (StatusField(status, "Uid") != four(uid) || StatusField(status, "Gid") != four(gid)) return wrong("uid or gid from outside differ");
    if (StatusField(status, "Groups").find_first_of("0123456789") != std::string::npos) return wrong("supplementary groups remain");
  }
  if (on(L_caps))
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
      if (!IsZeroHex(StatusField(status, set))) return wrong(std::string(set) + " is not empty");
  if (on(L_nnp) && StatusField(status, "NoNewPrivs") != "1") return wrong("NoNewPrivs is not 1");
  if (on(L_seccomp) && StatusField(status, "Seccomp") != "2") return wrong("Seccomp is not 2");
  const std::string filters = StatusField(status, "Seccomp_filters");
  if (sandbox.request.role == ROLE_TEMPLATE) sandbox.templateFilters = filters;
  // The template's filter is on its agents from birth, and allows what a sandbox is made with: theirs is one more.
  if (sandbox.request.role == ROLE_FORKED && on(L_seccomp) && strtoul(filters.c_str(), nullptr, 10) != strtoul(sandbox.templateFilters.c_str(), nullptr, 10) + 1)
    return wrong("the filter is its template's");

  static const Fd self(open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  static std::string ours[sizeof kNamespaces / sizeof kNamespaces[0]];
  size_t index = 0;
  bool hidden = false;  // from a kernel without CAP_SYS_PTRACE
  for (const auto& row : kNamespaces) {
    std::string& own = ours[index++];
    if (own.empty()) own = LinkAt(self.get(), row.file);
    if (!on(row.layer)) continue;
    const std::string theirs = LinkAt(process.get(), row.file);
    if (theirs.empty() && errno == EACCES) {
      hidden = true;
      break;
    }
    if (theirs.empty() || theirs == own) return wrong(std::string(row.file) + " is the host's");
  }
  // It was there before the root: PID 1 took it along to the new one.
  if (uint64_t agent[2], init[2]; sandbox.request.role == ROLE_FORKED && on(L_mntns) &&
                                  (!RootOf(sandbox.agentPid, agent) || !RootOf(sandbox.initPid, init) || memcmp(agent, init, sizeof agent) != 0))
    return wrong("not in the root that was made for it");
  if (!sandbox.cgroup.Contains(groups, problem)) return wrong("not in cgroup " + problem);
  for (Layer layer : {L_uid, L_caps, L_nnp, L_seccomp, L_mntns, L_pidns, L_netns, L_ipcns, L_utsns, L_cgroupns, L_userns}) {
    const bool isNamespace = layer != L_uid && layer != L_caps && layer != L_nnp && layer != L_seccomp;
    if (!on(layer) || (hidden && isNamespace)) continue;
    char* how = sandbox.layers[layer].how;
    const size_t size = sizeof sandbox.layers[layer].how, length = strnlen(how, size);
    if (length < size) snprintf(how + length, size - length, "; seen from outside");
  }
  return {};
}

}  // namespace clove
