// Sandboxes made ahead: complete but for what belongs to one agent, and with nothing of any agent in them. Each is used
// once, for one agent, which gets its user, limits, files, mounts and filters in it and is looked at from outside as ever.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>

#include "../init/sys.h"
#include "sandbox_clone.h"
#include "sandbox_remains.h"
#include "sandbox_service.h"

namespace clove {
namespace {

constexpr uint64_t kRestUs = 8 * kMs;

/** Steps that a sandbox in a pool has behind it: to make one of them fail, a sandbox must be made. */
bool IsDoneAhead(Step step) {
  switch (step) {
    case S_cgroup_create:
    case S_cgroup_cpuset:
    case S_clone:
    case S_cgroup_attach:
    case S_namespaces:
    case S_id_maps:
    case S_close_fds:
    case S_session:
    case S_cgroupns:
    case S_mount_private:
    case S_root_tmpfs:
    case S_system_binds:
    case S_dev:
    case S_proc:
    case S_proc_masks:
    case S_scratch_tmpfs:
    case S_pivot_root:
    case S_detach_host:
    case S_loopback:
    case S_cap_bounding:
    case S_securebits:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool FitsPool(const LaunchRequest& request) {
  // What is in a world has that world's network and files.
  const bool inWorld = request.netnsWanted || std::any_of(request.mounts.begin(), request.mounts.end(), [](const auto& mount) { return mount.tree.valid(); });
  return MakesOwnNamespaces(request.uid) && request.disable == 0 && request.role == ROLE_PLAIN && request.profile == PROFILE_DEFAULT && !request.hostNetwork && request.limits.cpus.empty() && !inWorld &&
         !IsDoneAhead(request.faultStep);
}

std::string HostFingerprint() {
  std::string fingerprint;
  for (const char* path : {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ssl", "/etc/ca-certificates", "/etc/pki",
                           "/etc/alternatives", "/etc/ld.so.cache"}) {
    struct statx info {};
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_INO | 0x1000 /* STATX_MNT_ID */, &info) != 0) info = {};
    const uint64_t facts[3] = {info.stx_ino, info.stx_mnt_id, (static_cast<uint64_t>(info.stx_dev_major) << 32) | info.stx_dev_minor};
    fingerprint.append(reinterpret_cast<const char*>(facts), sizeof facts);
  }
  return fingerprint;
}

bool HasEnded(int pidfd) {
  pollfd source{pidfd, POLLIN, 0};
  return poll(&source, 1, 0) != 0;
}

namespace {

/** What the thread that makes sandboxes ahead has started stands back like that thread. An agent does not. */
void BePrompt(pid_t process) { setpriority(PRIO_PROCESS, static_cast<id_t>(process), std::max(getpriority(PRIO_PROCESS, static_cast<id_t>(getpid())), 0)); }

void Rewatch(int epoll, int fd, uint32_t source, uint32_t id) {
  if (fd < 0) return;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = (static_cast<uint64_t>(id) << 8) | source;
  epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
}

}  // namespace

bool Service::TakeOver(Sandbox& sandbox, Sandbox& member) {
  if (HasEnded(member.initPidfd.get())) return false;  // its pidfd wakes us
  {
    const std::lock_guard lock(tableMutex_);
    table_.erase(member.id);
  }
  const std::lock_guard lock(sandbox.mutex);
  sandbox.taken = true;
  sandbox.cgroup = std::move(member.cgroup);
  sandbox.control = std::move(member.control);
  sandbox.agentControl = std::move(member.agentControl);
  sandbox.initPidfd = std::move(member.initPidfd);
  sandbox.agentPidfd = std::move(member.agentPidfd);
  sandbox.mountNamespace = std::move(member.mountNamespace);
  sandbox.networkNamespace = std::move(member.networkNamespace);
  sandbox.oomEvent = std::move(member.oomEvent);
  sandbox.initPid = std::exchange(member.initPid, 0);
  sandbox.agentPid = std::exchange(member.agentPid, 0);
  BePrompt(sandbox.initPid);
  if (sandbox.agentPid > 0) BePrompt(sandbox.agentPid);
  std::copy(std::begin(member.layers), std::end(member.layers), sandbox.layers);
  sandbox.furnished = member.furnished;
  sandbox.templateFilters = std::move(member.templateFilters);
  sandbox.baseUserUs = member.baseUserUs;
  sandbox.baseSystemUs = member.baseSystemUs;
  Rewatch(epoll_, sandbox.control.get(), Control, sandbox.id);
  Rewatch(epoll_, sandbox.agentControl.get(), Control, sandbox.id);
  Rewatch(epoll_, sandbox.initPidfd.get(), Init, sandbox.id);
  Rewatch(epoll_, sandbox.oomEvent.get(), Oom, sandbox.id);
  return true;
}

bool Service::TakeFromPool(Sandbox& sandbox) {
  const auto found = pools_.find(sandbox.request.cgroupParent);
  if (found == pools_.end() || sandbox.request.ahead || sandbox.noPool || !FitsPool(sandbox.request)) return false;
  Pool& pool = found->second;
  pool.demand++;
  pool.tmpfsBytes = sandbox.request.tmpfsBytes;
  pool.tmpfsInodes = sandbox.request.tmpfsInodes;
  const std::string fingerprint = pool.waiting.empty() ? "" : HostFingerprint();
  while (!pool.waiting.empty()) {
    const std::shared_ptr<Sandbox> member = std::move(pool.waiting.front());
    pool.waiting.pop_front();
    if (member->hostFingerprint != fingerprint) {
      Refuse(*member, {S_verify, ESTALE, "the host's folders have changed"});
      continue;
    }
    if (!TakeOver(sandbox, *member)) continue;
    pool.used++;
    pool.alive--;
    AnswerResize(pool);
    break;
  }
  if (!sandbox.taken) return false;
  OrderTaken(sandbox);
  return true;
}

/** The parent's half for a sandbox that exists: what Spawn does for one that does not, but for making it. */
Failure Service::Order(Sandbox& sandbox, StageClock& stage) {
  const LaunchRequest& request = sandbox.request;
  if (Failure f = OpenMounts(sandbox)) return f;
  stage("mounts");
  if (Failure f = ApplyLimits(sandbox)) return f;
  stage("cgroups");
  if (Failure f = OpenStreams(sandbox)) return f;
  if (request.role == ROLE_FORKED) {
    if (Failure f = MapUsers(sandbox)) return f;
  }
  if (Failure f = WritePlan(sandbox)) return f;
  stage("plan");
  if (request.faultStep == S_gate1) return {S_gate1, request.faultErrno, "fault injection"};
  std::vector<int> descriptors{sandbox.plan.get()};
  for (const Fd& fd : sandbox.stdioChild) descriptors.push_back(fd.get());
  for (const Fd& fd : sandbox.mountTrees) descriptors.push_back(fd.get());
  Fd orderSocket;
  if (request.role == ROLE_FORKED) {
    orderSocket = std::move(sandbox.control);
    if (Failure f = OpenControl(sandbox)) return f;
    Watch(sandbox.control.get(), EPOLLIN, Control, sandbox.id);
    descriptors.push_back(sandbox.childControl.get());
  }
  Message order{};
  order.kind = M_ORDER;
  const Fd& socket = orderSocket.valid() ? orderSocket : sandbox.control;
  // A broken pipe: it has just died, and its pidfd will say so.
  if (!SendOver(socket, order, descriptors.data(), static_cast<int>(descriptors.size())) && errno != EPIPE && errno != ECONNRESET)
    return {S_gate1, errno, ""};
  sandbox.childControl.reset();
  sandbox.plan.reset();
  sandbox.mountTrees.clear();
  stage("prepared");
  return {};
}

void Service::OrderTaken(Sandbox& sandbox) {
  StageClock stage(sandbox);
  stage("queue");
  Failure failure = Order(sandbox, stage);
  if (failure) Refuse(sandbox, std::move(failure));
  else AwaitReady(sandbox);
}

void Service::StartWithoutPool(Sandbox& dead) {
  auto fresh = std::make_shared<Sandbox>();
  fresh->client = dead.client;
  fresh->launchOp = std::exchange(dead.launchOp, 0);
  fresh->exitOp = dead.exitOp;
  fresh->noPool = true;
  const std::string parent = dead.request.cgroupParent;
  for (int i = 0; i < 3; i++)
    if (!dead.request.stdio[i].pipe && dead.stdioChild[i].valid()) dead.request.stdio[i].fd = std::move(dead.stdioChild[i]);
  fresh->request = std::move(dead.request);
  dead.request.cgroupParent = parent;
  dead.failure = {S_verify, ECHILD, "died before it had its agent"};
  for (const Fd* fd : {&dead.control, &dead.agentControl}) epoll_ctl(epoll_, EPOLL_CTL_DEL, fd->get(), nullptr);
  {
    const std::lock_guard lock(tableMutex_);
    fresh->id = dead.id;
    dead.id = nextId_++;
    table_[dead.id] = std::move(table_[fresh->id]);
    table_[fresh->id] = fresh;
  }
  Post([this, fresh] { Start(fresh); });
}

// -------------------------------------------------------------------------------------------------------------- members

std::shared_ptr<Sandbox> Service::NewMember(const char* kind, const std::shared_ptr<Client>& client, const std::string& cgroupParent) {
  auto member = std::make_shared<Sandbox>();
  member->id = nextId_++;
  member->client = client;
  LaunchRequest& request = member->request;
  request.ahead = true;
  request.calledAtUs = NowUs();
  request.cgroupParent = cgroupParent;
  request.instance = std::string(kind) + "-" + std::to_string(getpid()) + "-" + std::to_string(member->id);
  request.program = kNoProgram;
  return member;
}

void Service::Enter(const std::shared_ptr<Sandbox>& sandbox) {
  const std::lock_guard lock(tableMutex_);
  table_[sandbox->id] = sandbox;
}

void Service::PlanRefill(const std::string& cgroupParent, uint64_t delayUs) {
  const auto found = pools_.find(cgroupParent);
  if (found == pools_.end() || found->second.refillPlanned) return;
  found->second.refillPlanned = true;
  After(delayUs, [this, cgroupParent] { Refill(cgroupParent); });
}

void Service::NoteBusy(const std::string& cgroupParent) {
  if (const auto found = pools_.find(cgroupParent); found != pools_.end()) found->second.busyAtUs = NowUs();
}

void Service::Refill(const std::string& cgroupParent) {
  const auto found = pools_.find(cgroupParent);
  if (found == pools_.end()) return;
  Pool& pool = found->second;
  pool.refillPlanned = false;
  // Agents that are being started come first: of a machine that is busy, the pool takes nothing. The last of them asks again.
  if (setups_ > 0) return;
  const size_t wanted = std::min(pool.size, pool.demand);
  // As long as there are enough, the next ones are made when agents come and go no more: a short life is not to share the
  // processors with them. Where agents come without a pause, that moment does not come, and they are made as they are used.
  const uint64_t now = NowUs();
  const bool isAtRest = now >= pool.busyAtUs + kRestUs;
  if (isAtRest) FurnishNext(pool);
  else if (pool.waiting.size() * 2 >= wanted) return PlanRefill(cgroupParent, pool.busyAtUs + kRestUs - now);
  if (pool.making != nullptr || pool.waiting.size() >= wanted) return;
  if (pool.failuresInARow >= kFailuresUntilGivenUp || geteuid() != 0) return;
  const auto member = NewMember("pool", pool.client, cgroupParent);
  member->poolOf = cgroupParent;
  LaunchRequest& request = member->request;
  request.hostname = "clove";
  request.tmpfsBytes = pool.tmpfsBytes;
  request.tmpfsInodes = pool.tmpfsInodes;
  // A step that an agent could do without is one that its own sandbox can report on; here it must not fail.
  request.require = (1ull << LAYER_COUNT) - 1;
  pool.making = member;
  pool.alive++;
  Enter(member);
  Make(member);
}

void Service::HandlePrepared(Sandbox& member) {
  const auto found = pools_.find(member.poolOf);
  if (found == pools_.end() || found->second.making.get() != &member || member.failure) return;
  Pool& pool = found->second;
  member.waitsForAgent = true;
  pool.waiting.push_back(std::move(pool.making));
  pool.made++;
  pool.failuresInARow = 0;
  if (pool.waiting.size() > pool.size) {
    const auto surplus = std::move(pool.waiting.back());
    pool.waiting.pop_back();
    Refuse(*surplus, {S_verify, ECANCELED, "not wanted any more"});
  }
  PlanRefill(member.poolOf, 0);
}

void Service::MemberGone(Sandbox& member) {
  const auto found = pools_.find(member.poolOf);
  if (found == pools_.end() || found->second.client != member.client) return;
  Pool& pool = found->second;
  std::erase_if(pool.waiting, [&](const auto& waiting) { return waiting.get() == &member; });
  if (pool.furnished.get() == &member) pool.furnished.reset();
  if (pool.making.get() == &member) {
    pool.making.reset();
    pool.failed++;
    pool.failuresInARow++;
  } else {
    pool.discarded++;
  }
  pool.alive--;
  PlanRefill(member.poolOf, 0);
  AnswerResize(pool);
  if (pool.size == 0 && pool.alive == 0) pools_.erase(found);
}

void Service::ResizePool(std::string cgroupParent, uint32_t size, uint32_t op, std::shared_ptr<Client> client) {
  Post([this, cgroupParent = std::move(cgroupParent), size, op, client = std::move(client)] {
    Pool& pool = pools_[cgroupParent];
    pool.client = client;
    pool.size = size;
    pool.failuresInARow = pool.wrongGuesses = pool.guessesToSkip = 0;
    const auto end = [&](const std::shared_ptr<Sandbox>& member) { Refuse(*member, {S_verify, ECANCELED, "not wanted any more"}); };
    // Before any member ends: the last one to go takes the pool along, and answers whoever asked.
    pool.resizeOps.push_back({op, client});
    while (pool.waiting.size() > size) {
      const auto member = std::move(pool.waiting.back());
      pool.waiting.pop_back();
      end(member);
    }
    if (size == 0) DropFurnished(pool);
    if (size == 0 && pool.making != nullptr) end(std::shared_ptr<Sandbox>(pool.making));
    const auto left = pools_.find(cgroupParent);
    if (left == pools_.end()) return;
    AnswerResize(left->second);
    if (size == 0 && left->second.alive == 0) pools_.erase(left);
  });
}

void Service::AnswerResize(Pool& pool) {
  if (pool.alive > pool.size + (pool.furnished != nullptr ? 1 : 0) || pool.resizeOps.empty()) return;
  // Of agents that were in sandboxes of the pool.
  for (const auto& [parent, candidate] : pools_)
    if (&candidate == &pool) remains::Settle(parent);
  for (const auto& [op, client] : pool.resizeOps) Deliver(client, MakeEvent(Event::Done, op));
  pool.resizeOps.clear();
}

void Service::PoolOf(std::string cgroupParent, uint32_t op, std::shared_ptr<Client> client) {
  Post([this, cgroupParent = std::move(cgroupParent), op, client = std::move(client)] {
    const auto found = pools_.find(cgroupParent);
    const Pool none, &pool = found == pools_.end() ? none : found->second;
    std::string members;
    for (const auto& member : pool.waiting) members += (members.empty() ? "" : ",") + std::to_string(member->initPid);
    const auto field = [](const char* name, uint64_t value) { return std::string("\"") + name + "\":" + std::to_string(value) + ","; };
    auto event = MakeEvent(Event::Done, op);
    event->detail = "{" + field("size", pool.size) + field("made", pool.made) + field("used", pool.used) + field("discarded", pool.discarded) +
                    field("failed", pool.failed) + "\"furnished\":" +
                    (pool.furnished != nullptr && pool.furnished->waitsForAgent ? std::to_string(pool.furnished->initPid) : "null") + ",\"waiting\":[" + members + "]}";
    Deliver(client, std::move(event));
  });
}

}  // namespace clove
