// Forks and vforks of a process whose threads set timers all the while: each child must find the timers free. Exits with 0 when all did.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 150 };
static const struct itimerspec everySecond = {{1, 0}, {1, 0}}, everyMillisecond = {{0, 1000000}, {0, 1000000}};
static atomic_bool isOver;

static void* setTimers(void* unused) {
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  while (!isOver) timerfd_settime(timer, 0, &everySecond, NULL);
  return unused;
}

static int setTimer(int timer) {
  struct itimerspec left;
  return timerfd_settime(timer, 0, &everySecond, NULL) != 0 || timerfd_gettime(timer, &left) != 0 || left.it_interval.tv_sec != 1;
}

/** Shares its parent's memory, hence only looks. */
static int seeTimer(int timer) {
  struct itimerspec left;
  return timerfd_gettime(timer, &left) != 0 || left.it_interval.tv_nsec != 1000000;
}

static int endedWell(pid_t child) {
  int status;
  return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

int main(void) {
  pthread_t thread;
  int ticking = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), childs = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  timerfd_settime(ticking, 0, &everyMillisecond, NULL);
  pthread_create(&thread, NULL, setTimers, NULL);
  for (int i = 0; i < CHILDREN; i++) {
    pid_t child = fork();
    if (child == 0) _exit(setTimer(childs));
    if (!endedWell(child)) return 1;
    child = vfork();
    if (child == 0) _exit(seeTimer(ticking));
    if (!endedWell(child)) return 2;
  }
  // The timers of the parent are what they were.
  struct itimerspec left;
  unsigned long long expirations;
  timerfd_gettime(ticking, &left);
  if (left.it_interval.tv_nsec != 1000000 || read(ticking, &expirations, sizeof expirations) != sizeof expirations) return 3;
  isOver = 1;
  pthread_join(thread, NULL);
  return 0;
}
