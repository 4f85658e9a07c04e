#include "sandbox_netns.h"

#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace clove::spare_netns {
namespace {

struct State {
  std::mutex mutex;
  std::condition_variable wanted;
  Fd ready;
  bool want = false, running = false, impossible = false;
};

State& TheState() {
  static State* const state = new State();  // its thread has no end of its own
  return *state;
}

/** Moves the calling thread, and only it, into a new namespace, and opens that. */
Fd Make() {
  if (unshare(CLONE_NEWNET) != 0) return Fd();
  const Fd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!control.valid() || ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) return Fd();
  return Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

void Loop() {
  pthread_setname_np(pthread_self(), "clove-netns");
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  State& state = TheState();
  for (;;) {
    {
      std::unique_lock lock(state.mutex);
      state.wanted.wait(lock, [&] { return state.want; });
      state.want = false;
      if (state.ready.valid()) continue;
    }
    Fd made = Make();
    const std::lock_guard lock(state.mutex);
    state.impossible = !made.valid();
    state.ready = std::move(made);
    if (state.impossible) state.running = false;
    if (state.impossible) return;
  }
}

}  // namespace

Fd Take() {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  return std::move(state.ready);
}

void Refill() {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  if (state.impossible || state.ready.valid()) return;
  state.want = true;
  if (!state.running) {
    state.running = true;
    std::thread(Loop).detach();
  }
  state.wanted.notify_one();
}

}  // namespace clove::spare_netns
