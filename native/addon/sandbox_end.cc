// Ends: out of memory, kill, the exit of PID 1, and that nothing is left when it is told.
#include <limits.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <condition_variable>

#include "../init/sys.h"
#include "sandbox_remains.h"
#include "sandbox_service.h"

namespace clove {

bool Service::WatchOom(Sandbox& sandbox) {
  if (!sandbox.cgroup.memoryIsV1() || sandbox.oomEvent.valid()) return true;
  // Of one that is made ahead it is not known yet whether its memory will be limited.
  if (sandbox.request.ahead ? sandbox.cgroup.memory() < 0 : sandbox.layers[L_mem].state != STATE_ON) return true;
  // v1 kills one task and lets the others live on; v2 ends the whole group itself (memory.oom.group).
  const Fd oomControl(openat(sandbox.cgroup.memory(), "memory.oom_control", O_RDONLY | O_CLOEXEC));
  Fd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!oomControl.valid() || !event.valid()) return false;
  const std::string line = std::to_string(event.get()) + " " + std::to_string(oomControl.get());
  if (!WriteFileAt(sandbox.cgroup.memory(), "cgroup.event_control", line)) return false;
  sandbox.oomEvent = std::move(event);
  Watch(sandbox.oomEvent.get(), EPOLLIN, Oom, sandbox.id);
  return true;
}

void Service::CheckOom(Sandbox& sandbox, uint64_t delayUs) {
  uint64_t ignored;
  while (read(sandbox.oomEvent.get(), &ignored, sizeof ignored) > 0) continue;
  if (sandbox.phase == Sandbox::Ended) return;
  if (sandbox.cgroup.OomKills() > 0) {
    // The agents of a template stand below its PID 1: that one stays for them.
    if (sandbox.request.role != ROLE_TEMPLATE) KillTree(sandbox);
    else if (sandbox.agentPidfd.valid()) PidfdSendSignal(sandbox.agentPidfd.get(), SIGKILL);
    return;
  }
  if (sandbox.oomWatched && delayUs == 0) return;  // an earlier notice is being followed already
  sandbox.oomWatched = true;
  // The notice comes before the kill, and on a busy machine long before; or never, when reclaim still finds something.
  const uint64_t next = std::clamp<uint64_t>(delayUs * 2, 1 * kMs, 250 * kMs);
  const uint32_t id = sandbox.id;
  After(next, [this, id, next] {
    if (const auto found = Find(id)) CheckOom(*found, next);
  });
}

void Service::KillTree(Sandbox& sandbox) {
  if (sandbox.building) return;
  // In a moment nothing of it runs its own code again: what is left to do is the kernel's work.
  if (!sandbox.dying && sandbox.request.limits.cpuQuotaUs >= 0) sandbox.cgroup.LiftCpuQuota();
  sandbox.dying = true;
  const bool grouped = sandbox.cgroup.Kill();
  const bool pidNamespace = (sandbox.request.disable & bit(L_pidns)) == 0;
  if (!grouped && pidNamespace) PidfdSendSignal(sandbox.initPidfd.get(), SIGKILL);
  if (!grouped && !pidNamespace) {
    for (int pid : sandbox.cgroup.Processes()) kill(pid, SIGKILL);
    if (sandbox.agentPidfd.valid()) PidfdSendSignal(sandbox.agentPidfd.get(), SIGKILL);
    if (sandbox.byUser) KillUser(sandbox.request.uid);
  }
  if (sandbox.cgroup.unified() < 0) sandbox.cgroup.SetFrozen(false);  // v1: SIGKILL stays pending until thawed
}

void Service::HandleInitExit(Sandbox& sandbox) {
  if (sandbox.initReaped) return;
  // What PID 1 said last, all of it: nobody else has that end. The agent's may be its template's, too.
  ReadFrom(sandbox, sandbox.control, INT_MAX);
  ReadControl(sandbox);
  siginfo_t info{};
  rusage usage{};
  // P_PIDFD and __WALL: only this child, whatever its exit signal; Node's own children are not touched.
  // What came from a template is not our child: its descriptor has said that it is over, and the template reaps it.
  if (sandbox.request.role != ROLE_FORKED) {
    const long waited = syscall(SYS_waitid, 3, sandbox.initPidfd.get(), &info, WEXITED | WNOHANG | __WALL, &usage);
    if (waited != 0 || info.si_pid == 0) return;
  }
  sandbox.initReaped = true;
  epoll_ctl(epoll_, EPOLL_CTL_DEL, sandbox.initPidfd.get(), nullptr);
  sandbox.treeUserUs = static_cast<uint64_t>(usage.ru_utime.tv_sec) * 1000000 + static_cast<uint64_t>(usage.ru_utime.tv_usec);
  sandbox.treeSystemUs = static_cast<uint64_t>(usage.ru_stime.tv_sec) * 1000000 + static_cast<uint64_t>(usage.ru_stime.tv_usec);
  if (sandbox.phase == Sandbox::Setup && !sandbox.failure && sandbox.taken && (sandbox.agentPid == 0 || (sandbox.furnished && !sandbox.isGateOpen)))
    StartWithoutPool(sandbox);
  if (sandbox.phase == Sandbox::Setup && !sandbox.failure) {
    sandbox.failure = {S_attest, sandbox.cgroup.OomKills() > 0 ? ENOMEM : ECHILD,
                       "clove-init ended during the setup" + std::string(sandbox.cgroup.OomKills() > 0 ? ": memory limit too small" : "")};
  }
  Finish(sandbox.id);
}

/**
 * Waits until the groups are empty, reads them, answers. What is taken away before the answer, and what after it: of a setup
 * that failed nothing is left when that is told; of an agent that has ended, no process and nothing that it held.
 */
void Service::Finish(uint32_t id) {
  const std::shared_ptr<Sandbox> sandbox = Find(id);
  if (sandbox == nullptr || sandbox->phase == Sandbox::Ended) return;
  const bool pidNamespace = (sandbox->request.disable & bit(L_pidns)) == 0;
  auto event = std::make_unique<Event>();
  Remains left;
  {
    const std::lock_guard lock(sandbox->mutex);
    if (sandbox->byUser && sandbox->removeAttempts == 0) KillTree(*sandbox);  // PID 1 may have been the first to go
    const bool populated = !pidNamespace && (sandbox->cgroup.Populated() || (sandbox->byUser && UserHasProcesses(sandbox->request.uid)));
    sandbox->removeAttempts++;
    if (!populated && !sandbox->counted) {
      sandbox->counted = true;
      sandbox->finalUsage = sandbox->cgroup.Usage(true);
    }
    const bool isFailed = sandbox->failure || sandbox->request.ahead;
    if (populated || ((isFailed || !pidNamespace) && sandbox->cgroup.Remove() == EBUSY)) {
      // Something is still on its way out; a process that cannot be killed now (in D state) is waited for, not denied.
      KillTree(*sandbox);
      After(sandbox->removeAttempts < 500 ? 1 * kMs : 100 * kMs, [this, id] { Finish(id); });
      return;
    }
    event->usage = sandbox->finalUsage;
    // Before anybody hears of the end, not when the last reference goes.
    for (Fd* fd : {&sandbox->control, &sandbox->agentControl, &sandbox->childControl, &sandbox->plan, &sandbox->netns, &sandbox->initPidfd, &sandbox->agentPidfd, &sandbox->oomEvent})
      fd->reset();
    for (int i = 0; i < 3; i++)
      for (Fd* fd : {&sandbox->stdioOurs[i], &sandbox->stdioChild[i], &sandbox->request.stdio[i].fd}) fd->reset();
    sandbox->mountTrees.clear();
    sandbox->tasks.clear();
    left = {sandbox->request.cgroupParent + "/" + sandbox->cgroup.name(), std::move(sandbox->cgroup), std::move(sandbox->mountNamespace),
            std::move(sandbox->networkNamespace)};
  }
  if (sandbox->phase == Sandbox::Setup && !sandbox->request.ahead) setups_--;
  if (!sandbox->request.ahead) NoteBusy(sandbox->request.cgroupParent);
  sandbox->phase = Sandbox::Ended;
  if (sandbox->failure) {
    const Failure& failure = sandbox->failure;
    event->kind = Event::Failed;
    event->op = sandbox->launchOp;
    event->code = sandbox->execFailed ? "EXEC_FAILED" : "SANDBOX_UNAVAILABLE";
    event->stage = StepName(failure.step);
    event->syscall = StepCall(failure.step);
    event->layer = LayerName(StepLayer(failure.step));
    event->error = failure.error;
    event->detail = failure.detail;
  } else {
    event->kind = Event::Exited;
    event->op = sandbox->exitOp;
    const bool killed = !sandbox->mainExited || (WIFSIGNALED(sandbox->mainStatus) && WTERMSIG(sandbox->mainStatus) == SIGKILL);
    event->hasStatus = sandbox->mainExited;
    event->status = sandbox->mainExited ? sandbox->mainStatus : SIGKILL;
    event->reason = event->usage.oomKills > 0                                ? "oom"
                    : killed && sandbox->killReason != nullptr               ? sandbox->killReason
                    : sandbox->mainExited && WIFEXITED(sandbox->mainStatus) ? "exited"
                                                                             : "signal";
    event->wallUs = sandbox->mainExited ? sandbox->wallUs : NowUs() - sandbox->runningSinceUs;
    event->maxRssBytes = sandbox->maxRssBytes;
    // The group counted every process, the killed ones too; wait(2) only those that were reaped one by one.
    const bool counted = event->usage.cpuUsageUs > 0;
    event->cpuUserUs = counted ? event->usage.cpuUserUs - std::min(event->usage.cpuUserUs, sandbox->baseUserUs) : sandbox->treeUserUs;
    event->cpuSystemUs =
        counted ? event->usage.cpuSystemUs - std::min(event->usage.cpuSystemUs, sandbox->baseSystemUs) : sandbox->treeSystemUs;
  }
  EndOps(*sandbox);
  {
    const std::lock_guard lock(tableMutex_);
    table_.erase(id);
  }
  if (sandbox->launchOp != 0) Deliver(sandbox->client, std::move(event));
  // The processes are gone; taking down groups, mounts and network takes as long as the agent's end itself.
  remains::Leave(std::move(left));
  if (!sandbox->poolOf.empty()) MemberGone(*sandbox);
  else if (sandbox->spareOf != 0) SpareGone(*sandbox);
  else if (sandbox->failure) PlanRefill(sandbox->request.cgroupParent, 0);
}

void Service::EndOps(Sandbox& sandbox) {
  for (auto& [op, pending] : sandbox.ops) {
    if (pending.kind == PendingOp::Exec && pending.started) {
      auto event = MakeEvent(Event::ExecExited, pending.exitOp);
      event->status = SIGKILL;
      event->timedOut = pending.timedOut;
      event->wallUs = NowUs() - pending.startedUs;
      Deliver(sandbox.client, std::move(event));
    } else {
      Deliver(sandbox.client, MakeError(op, "NOT_FOUND", "the sandbox has ended"));
    }
  }
  sandbox.ops.clear();
}

void Service::CloseClient(const std::shared_ptr<Client>& client) {
  std::mutex mutex;
  std::condition_variable done;
  bool closed = false;
  std::function<void(int)> wait = [&](int attemptsLeft) {
    std::vector<std::shared_ptr<Sandbox>> live;
    {
      const std::lock_guard lock(tableMutex_);
      for (auto& [id, sandbox] : table_)
        if (sandbox->client == client) live.push_back(sandbox);
    }
    if (!live.empty() && attemptsLeft > 0) {
      for (const auto& sandbox : live) {
        if (sandbox->building) Refuse(*sandbox, {S_verify, ECANCELED, "not wanted any more"});
        KillTree(*sandbox);
      }
      After(2 * kMs, [&wait, attemptsLeft] { wait(attemptsLeft - 1); });
      return;
    }
    bool others;
    {
      const std::lock_guard lock(tableMutex_);
      others = !table_.empty();
    }
    remains::Settle("");
    if (!others) parents_.clear();
    const std::lock_guard lock(mutex);
    closed = true;
    done.notify_one();
  };
  Post([&] {
    client->deliver = nullptr;
    std::erase_if(pools_, [&](const auto& entry) { return entry.second.client == client; });
    std::erase_if(spares_, [&](const auto& entry) { return entry.second.client == client; });
    wait(1000);
  });
  std::unique_lock lock(mutex);
  done.wait(lock, [&] { return closed; });
}

}  // namespace clove
