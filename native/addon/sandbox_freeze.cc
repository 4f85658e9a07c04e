// Freezing and thawing of a whole sandbox, and waiting until it holds.
#include "sandbox_service.h"

namespace clove {
namespace {

constexpr uint64_t kGiveUpUs = 5000 * kMs;
constexpr uint64_t kLookAgainUs = 1 * kMs;
/** v1: after so many looks in vain, everything is let go for a moment. */
constexpr uint32_t kLooksPerRound = 50;

}  // namespace

void Service::Freeze(uint32_t id, uint32_t op, bool frozen, std::shared_ptr<Client> client) {
  Post([this, id, op, frozen, client = std::move(client)] {
    const auto sandbox = Find(id);
    if (sandbox == nullptr || sandbox->phase != Sandbox::Running) return Deliver(client, MakeError(op, "NOT_FOUND", "the sandbox has ended"));
    if (sandbox->dying) return Deliver(client, MakeError(op, "NOT_FOUND", "the sandbox is ending"));
    if (!sandbox->cgroup.SetFrozen(frozen))
      return Deliver(client, MakeError(op, "SANDBOX_UNAVAILABLE", "freezing needs cgroup v2 or the v1 freezer", errno));
    sandbox->wantsFrozen = frozen;
    WaitFrozen(id, op, frozen, 0, client, NowUs() + kGiveUpUs);
  });
}

/**
 * v1 asks each process once. One that was on its way into vfork(2) then waits there unasked, for a child that is frozen
 * before its execve and will never wake it, and the group stays in FREEZING. Asking again reaches a sleeping parent on newer
 * kernels; on all of them letting the child run on and freezing anew does, sooner or later.
 */
void Service::WaitFrozen(uint32_t id, uint32_t op, bool frozen, uint32_t looks, std::shared_ptr<Client> client, uint64_t deadlineUs) {
  const auto sandbox = Find(id);
  if (sandbox == nullptr || sandbox->dying) return Deliver(client, MakeError(op, "NOT_FOUND", "the sandbox ended meanwhile"));
  if (sandbox->wantsFrozen != frozen)
    return Deliver(client, MakeError(op, "CONFLICT", frozen ? "the sandbox was thawed meanwhile" : "the sandbox was frozen meanwhile"));
  const Cgroup& cgroup = sandbox->cgroup;
  if (cgroup.IsFrozen() == frozen) {
    auto event = MakeEvent(Event::Done, op);
    return Deliver(client, std::move(event));
  }
  if (NowUs() > deadlineUs) {
    // Half a frozen sandbox is no answer: who hears that it failed finds it running.
    if (frozen) cgroup.SetFrozen(sandbox->wantsFrozen = false);
    return Deliver(client, MakeError(op, "TIMEOUT", frozen ? "some process does not freeze; the sandbox runs on" : "some process does not thaw"));
  }
  if (frozen && cgroup.unified() < 0) {
    if (looks % kLooksPerRound == kLooksPerRound - 1) cgroup.SetFrozen(false);
    else cgroup.SetFrozen(true);
  }
  After(kLookAgainUs, [=, this] { WaitFrozen(id, op, frozen, looks + 1, client, deadlineUs); });
}

}  // namespace clove
