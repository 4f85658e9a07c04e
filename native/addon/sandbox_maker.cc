// The thread that begins sandboxes made ahead. Making one takes longer than a small program lives: on the service thread
// the agents that are starting and ending meanwhile would wait for it.
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#include <condition_variable>
#include <thread>

#include "responsive.h"
#include "sandbox_service.h"

namespace clove {
namespace {

struct Maker {
  std::mutex mutex;
  std::condition_variable wanted;
  std::deque<std::function<void()>> tasks;
  bool running = false;
};

Maker& TheMaker() {
  static Maker* const maker = new Maker();  // its thread has no end of its own: it is the parent of what it makes
  return *maker;
}

/** Behind whoever is waited for, and so is what this thread starts, until it is an agent's. */
void StepBack() {
  constexpr int kNice = 5;
  SchedulingAttributes attributes{kSchedulingAttributesSize, 0 /* SCHED_OTHER */, SCHED_FLAG_RESET_ON_FORK, kNice, 0, 0, 0, 0};
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

void BuildAll() {
  pthread_setname_np(pthread_self(), "clove-make");
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  StepBack();
  Maker& maker = TheMaker();
  for (;;) {
    std::unique_lock lock(maker.mutex);
    maker.wanted.wait(lock, [&] { return !maker.tasks.empty(); });
    const auto task = std::move(maker.tasks.front());
    maker.tasks.pop_front();
    lock.unlock();
    task();
  }
}

}  // namespace

void Service::Make(const std::shared_ptr<Sandbox>& member) {
  Failure parentFailure;
  const auto parent = Parent(member->request.cgroupParent, parentFailure);
  if (!initImage_.valid()) return Spawned(*member, {S_clone, ENOENT, "clove-init is not loaded"});
  member->building = true;
  Maker& maker = TheMaker();
  {
    const std::lock_guard lock(maker.mutex);
    maker.tasks.push_back([this, member, parent, image = initImage_.get()] {
      member->hostFingerprint = HostFingerprint();
      auto failure = std::make_shared<Failure>(Spawn(*member, parent, image));
      Post([this, member, failure] {
        member->building = false;
        if (member->failure) *failure = member->failure;  // not wanted any more
        Spawned(*member, std::move(*failure));
      });
    });
    if (!maker.running) std::thread(BuildAll).detach();
    maker.running = true;
  }
  maker.wanted.notify_one();
}

}  // namespace clove
