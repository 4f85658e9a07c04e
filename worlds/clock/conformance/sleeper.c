// Waits of a program of any C library, each for a known time. One line per case: name, expected, elapsed, really elapsed (seconds).
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char** environ;

static double now(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static double really(void) {
  char text[64] = "";
  int fd = open("/proc/uptime", O_RDONLY);
  if (read(fd, text, sizeof text - 1) <= 0) abort();
  close(fd);
  return atof(text);
}

static struct timespec in(double seconds, clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  time.tv_sec += (time_t)seconds;
  return time;
}

static double realAtStart, start;
static clockid_t measured;
static void begin(clockid_t clock) {
  realAtStart = really();
  measured = clock;
  start = now(clock);
}
static void end(const char* name, double expected) {
  double elapsed = now(measured) - start;
  printf("%s %.3f %.6f %.3f\n", name, expected, elapsed, really() - realAtStart);
  fflush(stdout);
}

static void onAlarm(int signal) { (void)signal; }

static void* waitOnCondition(void* seconds) {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  struct timespec until = in(*(double*)seconds, CLOCK_REALTIME);
  pthread_mutex_lock(&mutex);
  while (pthread_cond_timedwait(&condition, &mutex, &until) != ETIMEDOUT) continue;
  pthread_mutex_unlock(&mutex);
  return NULL;
}

int main(int count, char** arguments) {
  if (count > 1) {
    // A second argument: it says how long that took.
    int seconds = atoi(arguments[1]);
    if (count > 2) begin(CLOCK_MONOTONIC);
    int rest = sleep(seconds);
    if (count > 2) end("sleep", seconds);
    return rest != 0;
  }
  begin(CLOCK_MONOTONIC);
  sleep(10);
  end("sleep", 10);

  begin(CLOCK_REALTIME);
  struct timespec until = in(3600, CLOCK_MONOTONIC);
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
  end("clock_nanosleep-absolute", 3600);

  begin(CLOCK_MONOTONIC);
  struct timeval before, after;
  gettimeofday(&before, NULL);
  poll(NULL, 0, 60000);
  gettimeofday(&after, NULL);
  end(after.tv_sec - before.tv_sec == 60 || after.tv_sec - before.tv_sec == 61 ? "poll" : "gettimeofday-wrong", 60);

  begin(CLOCK_MONOTONIC);
  struct timeval wait = {7, 500000};
  select(0, NULL, NULL, NULL, &wait);
  end("select", 7.5);

  begin(CLOCK_MONOTONIC);
  struct epoll_event event;
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_wait(epoll, &event, 1, 5000);
  end("epoll_wait", 5);

  begin(CLOCK_MONOTONIC);
  double seconds = 1800;
  pthread_t thread;
  pthread_create(&thread, NULL, waitOnCondition, &seconds);
  pthread_join(thread, NULL);
  end("condition-of-a-thread", 1800);

  struct sigaction action = {.sa_handler = onAlarm};
  sigaction(SIGALRM, &action, NULL);
  begin(CLOCK_MONOTONIC);
  alarm(20);
  pause();
  end("alarm", 20);

  begin(CLOCK_MONOTONIC);
  alarm(5);
  struct timespec request = {60, 0}, remaining;
  if (nanosleep(&request, &remaining) != -1 || errno != EINTR || remaining.tv_sec < 54) puts("nanosleep-not-interrupted 0 1 0");
  end("nanosleep-interrupted", 5);

  begin(CLOCK_MONOTONIC);
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  struct itimerspec every = {{30, 0}, {30, 0}};
  unsigned long long expirations = 0, more;
  timerfd_settime(timer, 0, &every, NULL);
  for (int i = 0; i < 2; i++)
    if (read(timer, &more, sizeof more) == sizeof more) expirations += more;
  sleep(100);
  if (read(timer, &more, sizeof more) == sizeof more) expirations += more;
  end(expirations == 5 ? "timerfd" : "timerfd-wrong-count", 160);
  close(timer);

  begin(CLOCK_MONOTONIC);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  struct timespec time = {9, 0};
  sigtimedwait(&set, NULL, &time);
  end("sigtimedwait", 9);

  begin(CLOCK_MONOTONIC);
  if (fork() == 0) {
    sleep(40);
    _exit(0);
  }
  int status;
  while (waitpid(-1, &status, 0) < 0) continue;
  end("fork", 40);

  begin(CLOCK_MONOTONIC);
  pid_t child;
  char* self[] = {arguments[0], "25", NULL};
  if (posix_spawn(&child, arguments[0], NULL, NULL, self, environ) != 0) puts("posix_spawn-failed 0 1 0");
  while (waitpid(child, &status, 0) < 0) continue;
  end(status == 0 ? "posix_spawn" : "posix_spawn-wrong-status", 25);

  begin(CLOCK_MONOTONIC);
  char command[256];
  snprintf(command, sizeof command, "%s 15; exec sleep 15", arguments[0]);
  if (system(command) != 0) puts("system-failed 0 1 0");
  end("system", 30);
  return 0;
}
