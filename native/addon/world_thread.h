// Namespaces belong to threads: work in another one is done on a thread that ends with it, so that no thread of the
// process is ever left somewhere else.
#pragma once
#include <pthread.h>
#include <signal.h>

#include <thread>

namespace clove {

template <typename Work>
void OnOwnThread(Work work) {
  std::thread([&work] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    work();
  }).join();
}

}  // namespace clove
