// One of the sandboxes made ahead goes further than the others: to gate 2, for the agent that is expected next. Who that will be
// is known (its user, its socket, its name); that it will be like the one before is a guess, which costs one of the pool when it is
// wrong. What it is to run comes with gate 2.
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>

#include "../init/sys.h"
#include "sandbox_service.h"

namespace clove {
namespace {

/** What is at the places that a request mounts: the same as long as nothing else is put there. */
std::string SourcesOf(const LaunchRequest& request) {
  std::string found;
  for (const MountRequest& mount : request.mounts) {
    const Fd source(OpenAt2(AT_FDCWD, mount.source.c_str(), O_PATH | O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS));
    struct statx info {};
    if (statx(source.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO | STATX_TYPE | 0x1000 /* STATX_MNT_ID */, &info) != 0) info = {};
    const uint64_t facts[4] = {info.stx_ino, info.stx_mnt_id, (static_cast<uint64_t>(info.stx_dev_major) << 32) | info.stx_dev_minor, info.stx_mode};
    found.append(reinterpret_cast<const char*>(facts), sizeof facts);
    found += mount.source;
  }
  return found;
}

/** Whether a mount was made or went since the descriptor was opened. */
bool HasChanged(int mountTable) {
  pollfd source{mountTable, POLLPRI, 0};
  return poll(&source, 1, 0) != 0;
}

/** The plan of this agent, whatever it runs: two with the same bytes get the same sandbox. */
std::string PlanOf(LaunchRequest& request, const std::vector<bool>& mountIsDirectory, const LayerResult& pids) {
  ProgramRequest program = std::exchange(request.program, kNoProgram);
  const bool before = std::exchange(request.furnished, true);
  std::string bytes = BuildPlan(request, {mountIsDirectory, pids.state == STATE_ON ? 0 : std::max(pids.error, 1), 0, false, 0});
  request.program = std::move(program);
  request.furnished = before;
  return bytes;
}

bool AreEqual(const CgroupLimits& a, const CgroupLimits& b) {
  return a.memoryBytes == b.memoryBytes && a.swapBytes == b.swapBytes && a.cpuQuotaUs == b.cpuQuotaUs && a.cpuPeriodUs == b.cpuPeriodUs &&
         a.cpuShares == b.cpuShares && a.maxPids == b.maxPids && a.cpus == b.cpus && a.oomGroup == b.oomGroup;
}

/**
 * Whether groups with the guess's limits can be given these: limits are written, never taken away, the period of version 1 only
 * where it is not the usual one, and there memory first and memory with swap after it, which does not let the first grow.
 */
bool CanFollow(const CgroupLimits& guess, const CgroupLimits& limits, bool memoryIsV1) {
  const auto stays = [](int64_t before, int64_t after) { return before < 0 || after >= 0; };
  return stays(guess.memoryBytes, limits.memoryBytes) && stays(guess.swapBytes, limits.swapBytes) && stays(guess.cpuQuotaUs, limits.cpuQuotaUs) &&
         stays(guess.cpuShares, limits.cpuShares) && stays(guess.maxPids, limits.maxPids) && guess.cpuPeriodUs == limits.cpuPeriodUs &&
         guess.cpus == limits.cpus && guess.oomGroup == limits.oomGroup && !(memoryIsV1 && guess.swapBytes >= 0 && limits.memoryBytes > guess.memoryBytes);
}

}  // namespace

void Service::Furnish(std::unique_ptr<LaunchRequest> request) {
  Post([this, request = std::make_shared<std::unique_ptr<LaunchRequest>>(std::move(request))] {
    const auto found = pools_.find((*request)->cgroupParent);
    if (found == pools_.end()) return;
    Pool& pool = found->second;
    if (pool.guessesToSkip > 0) {
      pool.guessesToSkip--;
      return;
    }
    DropFurnished(pool);
    pool.wanted = std::move(*request);
    PlanRefill(found->first, 0);
  });
}

void Service::Unfurnish(std::string cgroupParent, uint32_t uid) {
  Post([this, cgroupParent = std::move(cgroupParent), uid] {
    const auto found = pools_.find(cgroupParent);
    if (found == pools_.end()) return;
    Pool& pool = found->second;
    if (pool.wanted != nullptr && pool.wanted->uid == uid) pool.wanted.reset();
    if (pool.furnished != nullptr && pool.furnished->request.uid == uid) DropFurnished(pool);
  });
}

void Service::DropFurnished(Pool& pool) {
  pool.wanted.reset();
  const auto member = std::exchange(pool.furnished, nullptr);
  if (member != nullptr) Refuse(*member, {S_verify, ECANCELED, "not the agent that came"});
}

void Service::FurnishNext(Pool& pool) {
  // A kernel that starts one agent starts no second one.
  if (pool.wanted == nullptr || pool.furnished != nullptr || pool.waiting.empty() || pool.demand < 2 || !FitsPool(*pool.wanted)) return;
  const std::shared_ptr<Sandbox> member = std::move(pool.waiting.front());
  pool.waiting.pop_front();
  const auto wanted = std::exchange(pool.wanted, nullptr);
  if (HasEnded(member->initPidfd.get())) return;  // its pidfd wakes us
  const std::string instance = member->request.instance;
  {
    const std::lock_guard lock(member->mutex);
    member->request = std::move(*wanted);
    LaunchRequest& request = member->request;
    request.instance = instance;
    request.program = kNoProgram;
    for (StdioRequest& stdio : request.stdio) stdio = {};
    request.ahead = request.furnished = true;
    request.calledAtUs = NowUs();
    member->furnished = true;
    member->waitsForAgent = false;
    member->mountTable = Fd(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
    member->mountSources = SourcesOf(request);
  }
  pool.furnished = member;
  StageClock stage(*member);
  Failure failure = member->mountTable.valid() ? Order(*member, stage) : Failure{S_open_mounts, errno, "/proc/self/mountinfo"};
  if (failure) return Refuse(*member, std::move(failure));
  member->planBytes = PlanOf(member->request, member->mountIsDirectory, member->layers[L_pids]);
  AwaitReady(*member);
}

bool Service::TakeFurnished(Sandbox& sandbox) {
  const auto found = pools_.find(sandbox.request.cgroupParent);
  if (found == pools_.end() || sandbox.request.ahead || sandbox.noPool) return false;
  Pool& pool = found->second;
  if (pool.wanted != nullptr && pool.wanted->uid == sandbox.request.uid) pool.wanted.reset();  // it is here already
  if (pool.furnished == nullptr) return false;
  Sandbox& member = *pool.furnished;
  LaunchRequest& request = sandbox.request;
  if (member.request.uid != request.uid) return false;  // somebody else
  // PID 1 learns of the end of whoever waits at the gate, and may not have had the time to say so.
  const bool isAlive = !member.failure && !HasEnded(member.initPidfd.get()) && (member.agentPid == 0 || !HasEnded(member.agentPidfd.get()));
  const bool isRight = isAlive && FitsPool(request) && request.faultStep == S_NONE && !HasChanged(member.mountTable.get()) &&
                       HostFingerprint() == member.hostFingerprint && SourcesOf(request) == member.mountSources &&
                       CanFollow(member.request.limits, request.limits, member.cgroup.memoryIsV1()) &&
                       PlanOf(request, member.mountIsDirectory, member.layers[L_pids]) == member.planBytes;
  if (!isRight) {
    // Agents that differ each time are not guessed at again and again.
    if (isAlive) pool.guessesToSkip = 1u << std::min(pool.wrongGuesses++, 6u);
    DropFurnished(pool);
    return false;
  }
  pool.wrongGuesses = 0;
  const std::shared_ptr<Sandbox> kept = std::move(pool.furnished);
  if (!TakeOver(sandbox, member)) return false;
  pool.demand++;
  pool.used++;
  pool.alive--;
  AnswerResize(pool);
  StageClock stage(sandbox);
  stage("queue");
  Failure failure;
  if (!AreEqual(request.limits, member.request.limits)) failure = ApplyLimits(sandbox);
  stage("cgroups");
  if (!failure) failure = OpenStreams(sandbox);
  if (failure) {
    Refuse(sandbox, std::move(failure));
    return true;
  }
  stage("prepared");
  AwaitReady(sandbox);
  if (sandbox.agentPid != 0) OpenGate2(sandbox);
  return true;
}

}  // namespace clove
