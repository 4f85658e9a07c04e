// Strict worlds: one agent runs at a time, in an order that follows from what the agents do alone. A turn ends when all threads of its
// agent wait, and the next begins when nothing is on its way any more: what an agent finds then does not depend on who was quicker.
#include "clock_coordinator.h"

namespace clove::clock {

namespace {

/** A thread that works for so long while another of its agent waits for the next turn may be waiting for just that one. */
constexpr int64_t kStallNs = 30'000'000'000;
/** An agent that always finds something to do lets the others on after so many turns. */
constexpr uint32_t kMostTurnsInARow = 10'000;
/** A program that cannot be covered is not one that is just being loaded. */
constexpr int64_t kHopelessNs = 2'000'000'000;
/** What one agent's turn may have been charged is taken in parts: so many of them. */
constexpr int kMostPendingCharges = 64;

}  // namespace

bool Coordinator::PassTurn(int64_t realNow) {
  for (auto& [id, agent] : agents_) {
    if (!agent->HasTurn()) continue;
    agent->SetTurn(false);
    // Nobody could run since the survey but by what comes from outside the world; that, too, is heard in turns.
    if (const int64_t charge = agent->TakeCharge(); charge > 0) MoveTo(Virtual(MonotonicNs()) + charge);
    return true;
  }
  // Whoever can go on does: how many turns a program takes until it needs somebody else may depend on its own threads, and must mean
  // nothing to the others. Then in the order of their numbers, each once around.
  Agent* next = nullptr;
  if (const auto last = agents_.find(lastTurn_); last != agents_.end() && last->second->WantsTurn() && ++turnsInARow_ < kMostTurnsInARow)
    next = last->second.get();
  else turnsInARow_ = 0;
  for (auto& [id, agent] : agents_) {
    if (turnsInARow_ > 0) break;
    if (!agent->WantsTurn()) continue;
    if (next == nullptr || (next->id() <= lastTurn_ && id > lastTurn_)) next = agent.get();
  }
  if (next == nullptr) {
    // Every moment has an order of its own: an agent that wakes at another one leaves no trace in this.
    lastTurn_ = 0;
    return false;
  }
  lastTurn_ = next->id();
  lastBusy_ = next->id();
  turnSince_ = realNow;
  next->SetTurn(true);
  return true;
}

bool Coordinator::EndOrder(const Blocker& blocker, int64_t realNow) {
  if (!IsStrict()) return false;
  if (!blocker.name.empty() && blocker.detail == candidate_ && realNow - candidateSince_ > kHopelessNs) {
    LoseOrder(blocker.detail);
    return true;
  }
  if (turnSince_ == 0 || realNow - turnSince_ < kStallNs) return false;
  const auto found = agents_.find(lastTurn_);
  if (found == agents_.end() || !found->second->HasTurn() || !found->second->WantsTurn()) return false;
  LoseOrder("a thread of agent " + std::to_string(lastTurn_) + " has worked for 30 s while another one of it waited for its next turn");
  return true;
}

void Coordinator::LoseOrder(const std::string& why) {
  if (!IsStrict()) return;
  const int64_t real = MonotonicNs();
  // Whoever looked at the clock has seen what its turn had cost so far: nobody's time may go back.
  int64_t charged = 0;
  for (auto& [id, agent] : agents_) {
    int64_t ofAgent = 0;
    for (int part = 0; part < kMostPendingCharges; part++) ofAgent += agent->TakeCharge();
    charged = std::max(charged, ofAgent);
  }
  mode_ = Mode::kSkip;
  page_->sequence.fetch_add(1, std::memory_order_acq_rel);
  std::atomic_thread_fence(std::memory_order_release);
  page_->virtualBase.store(Virtual(real) + charged, std::memory_order_relaxed);
  page_->realBase.store(real, std::memory_order_relaxed);
  page_->rateNumerator = stills_ > 0 ? 0 : options_.rateNumerator;
  page_->mode.store(static_cast<uint32_t>(mode_));
  page_->sequence.fetch_add(1, std::memory_order_release);
  for (auto& [id, agent] : agents_) {
    agent->SetTurn(false);
    agent->SetTurn(true);
  }
  status_.degradations.push_back({"order-lost", why + ": from here on agents run side by side, as in mode skip", Virtual(real) - start_, true});
}

}  // namespace clove::clock
