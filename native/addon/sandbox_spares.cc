// Agents of templates that are born ahead (native/zygote): processes that are nobody yet, in namespaces and groups of their own, with
// a PID 1 that waits for the order. The copy of a template's page tables takes longer than all else that a spawn does for one.
#include <algorithm>

#include "../init/sys.h"
#include "sandbox_service.h"

namespace clove {
namespace {

/** The agent that was started last has the machine first. */
constexpr uint64_t kDelayUs = 10 * kMs;

/** What a birth has behind it that requests may differ in. */
bool Fits(const LaunchRequest& request) {
  const bool isDoneAhead = request.faultStep == S_cgroup_create || request.faultStep == S_cgroup_cpuset || request.faultStep == S_clone;
  return request.spares > 0 && request.disable == 0 && !request.hostNetwork && request.limits.cpus.empty() && !isDoneAhead;
}

}  // namespace

bool Service::TakeSpare(Sandbox& sandbox) {
  LaunchRequest& request = sandbox.request;
  // What goes the ordinary way after all must not bring back what has been ended meanwhile.
  if (request.role != ROLE_FORKED || request.ahead || sandbox.noPool || !Fits(request)) return false;
  Spares& spares = spares_[request.templateUid];
  if (!spares.channel.valid()) spares.channel = Fd(fcntl(request.templateChannel.get(), F_DUPFD_CLOEXEC, 3));
  spares.client = sandbox.client;
  spares.cgroupParent = request.cgroupParent;
  spares.gid = request.templateGid;
  spares.size = request.spares;
  while (!spares.waiting.empty() && !sandbox.taken) {
    const std::shared_ptr<Sandbox> member = std::move(spares.waiting.front());
    spares.waiting.pop_front();
    TakeOver(sandbox, *member);
  }
  if (!sandbox.taken) {
    spares.wanted = std::min(spares.wanted + 1, spares.size);
    return false;
  }
  OrderTaken(sandbox);
  return true;
}

void Service::PlanSpare(uint32_t templateUid) {
  const auto found = spares_.find(templateUid);
  if (found == spares_.end() || found->second.isPlanned) return;
  found->second.isPlanned = true;
  After(kDelayUs, [this, templateUid] { MakeSpare(templateUid); });
}

void Service::MakeSpare(uint32_t templateUid) {
  const auto found = spares_.find(templateUid);
  if (found == spares_.end()) return;
  Spares& spares = found->second;
  spares.isPlanned = false;
  if (spares.making != nullptr || spares.waiting.size() >= spares.wanted || spares.failuresInARow >= kFailuresUntilGivenUp) return;
  if (setups_ > 0) return PlanSpare(templateUid);
  const auto member = NewMember("spare", spares.client, spares.cgroupParent);
  member->spareOf = templateUid;
  LaunchRequest& request = member->request;
  request.role = ROLE_FORKED;
  request.templateUid = templateUid;
  request.templateGid = spares.gid;
  request.templateChannel = Fd(fcntl(spares.channel.get(), F_DUPFD_CLOEXEC, 3));
  spares.making = member;
  Enter(member);
  Start(member);
}

void Service::SpareBorn(Sandbox& member) {
  const auto found = spares_.find(member.spareOf);
  if (found == spares_.end() || found->second.making.get() != &member) return Refuse(member, {S_verify, ECANCELED, "not wanted any more"});
  Spares& spares = found->second;
  member.waitsForAgent = true;
  spares.waiting.push_back(std::move(spares.making));
  spares.failuresInARow = 0;
  if (spares.waiting.size() < spares.wanted) PlanSpare(member.spareOf);
}

void Service::SpareGone(Sandbox& member) {
  const auto found = spares_.find(member.spareOf);
  if (found == spares_.end()) return;
  Spares& spares = found->second;
  std::erase_if(spares.waiting, [&](const auto& waiting) { return waiting.get() == &member; });
  if (spares.making.get() != &member) return;
  spares.making.reset();
  spares.failuresInARow++;
}

void Service::EndSpares(uint32_t templateUid) {
  Post([this, templateUid] {
    const auto found = spares_.find(templateUid);
    if (found == spares_.end()) return;
    Spares spares = std::move(found->second);
    spares_.erase(found);
    if (spares.making != nullptr) spares.waiting.push_back(std::move(spares.making));
    for (const auto& member : spares.waiting) Refuse(*member, {S_verify, ECANCELED, "not wanted any more"});
  });
}

}  // namespace clove
