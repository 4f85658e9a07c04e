// clove-init: started by the kernel process as PID 1 of a new sandbox, before anything in it exists. It builds the
// sandbox around itself, gives up every right, starts the agent and then serves as its init.
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "init.h"

namespace clove {

namespace {

/**
 * Moves itself into the v1 groups (v2 placement came with the clone). A thread that moves only itself needs no lock
 * against forks: when the kernel moves another process it waits for a grace period, several milliseconds on a machine
 * that was idle. The parent checks the result in /proc before the agent runs.
 */
void AttachToGroups() {
  // Born in them, as the agent was: there is no write here that could fail.
  if (plan->role == ROLE_FORKED && Faulted(S_cgroup_attach)) Check(S_cgroup_attach, -1, "");
  for (uint32_t i = 0; i < plan->attachCount; i++) {
    const int tasks = FD_MOUNTS + static_cast<int>(plan->mountCount + i);
    STEP_CALL(S_cgroup_attach, write(tasks, "0", 1));
    close(tasks);
  }
}

/** A network namespace that was made ahead, for this sandbox alone. */
void EnterNetwork() {
  if (plan->netnsGiven == 0) return;
  const int given = FD_MOUNTS + static_cast<int>(plan->mountCount + plan->attachCount);
  STEP_CALL(S_namespaces, syscall(SYS_setns, given, CLONE_NEWNET));
  close(given);
}

/** When the machine runs out of memory, agents go before the kernel. Raising needs no right. */
void VolunteerForOom() {
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "500", 3) != 3) errno = 0;  // lower protection of the host, not of the sandbox
  close(fd);
}

void CloseInherited() {
  if (!Wanted(L_fds)) {
    fcntl(FD_CONTROL, F_SETFD, FD_CLOEXEC);
    return LayerSet(L_fds, STATE_OFF, 0, "left out by request");
  }
  // Of a template's agent the start has closed everything but what the order brought; the agent reports on its own.
  const unsigned first = FD_MOUNTS + plan->mountCount;
  if (STEP_CALL(S_close_fds, plan->role == ROLE_FORKED ? 0 : CloseRange(first, ~0u, 0)))
    LayerOn(L_fds, "close_range(3, ~0): only 0, 1, 2 reach the agent");
}

long LoopbackUp() {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  ifreq request{};
  memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const long result = ioctl(fd, SIOCSIFFLAGS, &request);
  close(fd);
  return result;
}

void Namespaces() {
  const struct {
    Layer layer;
    const char* what;
  } names[] = {{L_pidns, "pid 1 of an own pid namespace"}, {L_ipcns, "own ipc namespace"}};
  for (const auto& entry : names) {
    if (Wanted(entry.layer)) LayerOn(entry.layer, "%s", entry.what);
    else LayerSet(entry.layer, STATE_OFF, 0, "left out by request");
  }
  if (!Wanted(L_pidns)) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  if (!Wanted(L_cgroupns)) LayerSet(L_cgroupns, STATE_OFF, 0, "left out by request");
  else if (STEP_CALL(S_cgroupns, plan->role == ROLE_FORKED ? 0 : unshare(CLONE_NEWCGROUP))) LayerOn(L_cgroupns, "own cgroup namespace, made after the attach");
  LayerSet(L_timens, STATE_NA, 0, "not asked for");
  LayerSet(L_overlay, STATE_NA, 0, "not asked for");
  if (plan->role == ROLE_FORKED) LayerOn(L_userns, "own user namespace; inside, 0 is the template's user and %u the agent's", plan->uid);
  else if (plan->userns == 0) LayerSet(L_userns, STATE_NA, 0, plan->hostUid == 0 ? "the kernel is root: it needs none" : "no namespace asked for");
  else LayerOn(L_userns, "uid %u inside is uid %u of the host", plan->uid, plan->hostUid);
}

void Network() {
  if (!Wanted(L_netns)) LayerSet(L_netns, STATE_OFF, 0, "left out by request");
  else if (plan->hostNetwork != 0) LayerSet(L_netns, STATE_OFF, 0, "network: host");
  else if (STEP_CALL(S_loopback, plan->netnsGiven != 0 ? 0 : LoopbackUp())) LayerOn(L_netns, "own network namespace, only lo");
}

void Name() {
  const char* name = At<char>(plan->hostname);
  if (!Wanted(L_utsns)) LayerSet(L_utsns, STATE_OFF, 0, "left out by request");
  else if (STEP_CALL(S_hostname, sethostname(name, strlen(name)))) LayerOn(L_utsns, "hostname %s", name);
}

}  // namespace

void BuildSandbox() {
  AttachToGroups();
  EnterNetwork();
  VolunteerForOom();
  CloseInherited();
  if (plan->userns != 0) EnterUserNamespace();
  if (!Wanted(L_session)) LayerSet(L_session, STATE_OFF, 0, "left out by request");
  else if (STEP_CALL(S_session, setsid())) LayerOn(L_session, "own session, no controlling terminal");
  Namespaces();
  ready.stampUs[T_GROUPS] = NowUs();
  BuildRoot();
  Network();
  LimitRights();
  PrepareLandlock(plan->role == ROLE_FORKED);
  ready.stampUs[T_ROOT] = NowUs();
  if (plan->prepared != 0) AwaitOrder();
  if (plan->role == ROLE_FORKED) TakeOrderedMounts();
  FurnishRoot();
  Name();
  umask(022);
  ready.stampUs[T_FILES] = NowUs();
  if (plan->role == ROLE_FORKED) LetAgentBecome();
  DropPrivileges();
  ready.stampUs[T_RIGHTS] = NowUs();
  ApplyLandlock();
  ApplySeccomp();
  Attest();
  ready.stampUs[T_FILTERS] = NowUs();
}

namespace {

/** Starts the agent and answers for it until it runs; afterwards serves. */
[[noreturn]] void RunAgent() {
  static Launch launch;
  launch = {reinterpret_cast<char*>(plan), &plan->command, {-1, -1, -1}, true, S_NONE, 0, plan->furnished != 0, 0, false};
  const int pid = Faulted(S_fork_agent) ? -1 : launch.isGiven ? StartGivenProgram(launch) : StartProgram(launch, nullptr);
  if (pid < 0) Fail(S_fork_agent, errno, "");
  const uint64_t startedUs = NowUs();
  if (launch.error != 0) {
    if (launch.step != S_exec) Fail(launch.step, launch.error, "");
    SendSimple(M_EXEC_FAILED, 0, launch.error, 0, 0);
    _exit(launch.error == EACCES ? 126 : 127);
  }
  // Killed while it waited there: it ended without having become anything.
  if (!launch.isLetGo) Fail(S_gate2, ECHILD, "the agent ended before it was let go");
  SendSimple(M_STARTED, 0, 0, 0, 0);
  if (launch.isGiven) munmap(launch.base, launch.size);
  Serve(pid, startedUs);
}

[[noreturn]] void Run() {
  // Whoever could trace this process now would own the sandbox's making.
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  struct stat info {};
  if (fstat(FD_FAMILY, &info) == 0 && S_ISSOCK(info.st_mode)) {
    MeetAgent();
    BuildSandbox();
    FollowAgent();
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (!AwaitGate(M_GATE1)) _exit(125);
  ReadPlan();
  BuildSandbox();
  RunAgent();
}

}  // namespace
}  // namespace clove

int main() { clove::Run(); }
