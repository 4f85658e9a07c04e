// Waits of the program's own threads, some of which end with the thread: pthread_cancel.
#include <pthread.h>

#include "library.h"

namespace clove::clock {

long CancellableSystemCall(long number, long a, long b, long c, long d, long e, long f) {
  int before;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
  const long result = SystemCall(number, a, b, c, d, e, f);
  pthread_setcanceltype(before, nullptr);
  return result;
}

int SleepUntil(int64_t deadline) { return static_cast<int>(-SleepUntilBy<Wait>(CancellableSystemCall, deadline)); }

int WakeWord(const void* word, int count, bool isShared) {
  return static_cast<int>(SystemCall(SYS_futex, Value(word), FUTEX_WAKE | (isShared ? 0 : FUTEX_PRIVATE_FLAG), count));
}

int WaitOnWord(const void* word, uint32_t expected, bool isShared, int64_t deadline, bool cancellable) {
  const Call call = cancellable ? CancellableSystemCall : SystemCall;
  return static_cast<int>(-WaitOnWordBy<Wait>(call, word, expected, isShared, deadline));
}

}  // namespace clove::clock
