#include "sandbox_remains.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace clove::remains {
namespace {

using std::chrono::milliseconds;

/** The kernel takes network namespaces down in one go, however many have lost their last holder by then. */
constexpr size_t kNetworksAtOnce = 32;
constexpr milliseconds kNetworksWait{20};
constexpr milliseconds kBusyWait{1}, kStuckWait{100};
constexpr int kStuckAttempts = 500;
constexpr int kNice = 5;

struct State {
  std::mutex mutex;
  std::condition_variable wanted, settled;
  std::deque<Remains> queue;
  std::multiset<std::string> names;  // of groups that are not gone yet
  std::vector<Fd> networks;
  bool running = false;
};

State& TheState() {
  static State* const state = new State();  // its thread has no end of its own
  return *state;
}

void Loop() {
  pthread_setname_np(pthread_self(), "clove-close");
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  setpriority(PRIO_PROCESS, 0, kNice);  // of this thread
  State& state = TheState();
  std::vector<Remains> busy;
  int attempts = 0;
  std::unique_lock lock(state.mutex);
  for (;;) {
    if (state.queue.empty()) {
      bool isQuiet = false;
      if (!busy.empty()) {
        state.wanted.wait_for(lock, attempts < kStuckAttempts ? kBusyWait : kStuckWait);
      } else if (!state.networks.empty()) {
        isQuiet = state.wanted.wait_for(lock, kNetworksWait) == std::cv_status::timeout;
      } else {
        state.wanted.wait(lock);
      }
      if (isQuiet && state.queue.empty()) {
        const std::vector<Fd> networks = std::exchange(state.networks, {});
        lock.unlock();
        // They go here, without the lock.
      }
      if (!lock.owns_lock()) lock.lock();
    }
    std::vector<Remains> taken = std::exchange(busy, {});
    if (state.queue.empty()) attempts++;
    else attempts = 0;
    for (Remains& left : state.queue) taken.push_back(std::move(left));
    state.queue.clear();
    lock.unlock();
    std::vector<std::string> gone;
    std::vector<Fd> networks;
    for (Remains& left : taken) {
      left.mountNamespace.reset();
      if (left.networkNamespace.valid()) networks.push_back(std::move(left.networkNamespace));
      if (left.cgroup.Remove() == EBUSY) busy.push_back(std::move(left));
      else gone.push_back(left.name);
    }
    taken.clear();
    lock.lock();
    for (const std::string& name : gone) state.names.erase(state.names.find(name));
    for (Fd& network : networks) state.networks.push_back(std::move(network));
    if (state.networks.size() >= kNetworksAtOnce) {
      networks = std::exchange(state.networks, {});
      lock.unlock();
      networks.clear();
      lock.lock();
    }
    if (!gone.empty()) state.settled.notify_all();
  }
}

}  // namespace

void Leave(Remains left) {
  State& state = TheState();
  {
    const std::lock_guard lock(state.mutex);
    state.names.insert(left.name);
    state.queue.push_back(std::move(left));
    if (!state.running) std::thread(Loop).detach();
    state.running = true;
  }
  state.wanted.notify_one();
}

void AwaitName(const std::string& name) {
  State& state = TheState();
  std::unique_lock lock(state.mutex);
  state.settled.wait_for(lock, kStuckWait, [&] { return state.names.find(name) == state.names.end(); });
}

void Settle(const std::string& parent) {
  const std::string prefix = parent.empty() ? "" : parent + "/";
  State& state = TheState();
  std::unique_lock lock(state.mutex);
  state.settled.wait_for(lock, milliseconds(kSettleMs), [&] {
    const auto first = state.names.lower_bound(prefix);
    return first == state.names.end() || !first->starts_with(prefix);
  });
}

}  // namespace clove::remains
