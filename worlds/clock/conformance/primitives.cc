// Timed waits of the C library, each for a known time. One line per case: name, expected, elapsed, really elapsed (seconds).
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

namespace {

double Seconds(const timespec& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9; }

double Now(clockid_t clock = CLOCK_MONOTONIC) {
  timespec time;
  clock_gettime(clock, &time);
  return Seconds(time);
}

/** The kernel's own clock, which no library can move. */
double Really() {
  char text[64] = "";
  const int fd = open("/proc/uptime", O_RDONLY);
  if (read(fd, text, sizeof text - 1) <= 0) abort();
  close(fd);
  return atof(text);
}

timespec In(double seconds, clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  const auto ns = static_cast<int64_t>(seconds * 1e9) + time.tv_nsec;
  time.tv_sec += ns / 1000000000;
  time.tv_nsec = ns % 1000000000;
  return time;
}

timespec For(double seconds) { return {static_cast<time_t>(seconds), static_cast<long>((seconds - static_cast<time_t>(seconds)) * 1e9)}; }

const char* only = nullptr;
int failures = 0;

template <typename Body>
void Case(const char* name, double expected, Body&& body) {
  if (only != nullptr && strcmp(only, name) != 0) return;
  const double really = Really(), start = Now();
  const bool ok = body();
  printf("%s %.3f %.6f %.3f\n", name, expected, Now() - start, Really() - really);
  fflush(stdout);
  if (ok) return;
  fprintf(stderr, "%s: wrong result, errno %d (%s)\n", name, errno, strerror(errno));
  failures++;
}

volatile sig_atomic_t alarms = 0;
void OnAlarm(int) { alarms = alarms + 1; }

void CatchAlarms() {
  struct sigaction action = {};
  action.sa_handler = OnAlarm;
  sigaction(SIGALRM, &action, nullptr);
  alarms = 0;
}

struct Shared {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
  sem_t semaphore;
  int value = 0;
};

template <typename Body>
struct Thread {
  Body body;
  pthread_t thread;
  explicit Thread(Body b) : body(b) {
    pthread_create(&thread, nullptr, [](void* self) -> void* { static_cast<Thread*>(self)->body(); return nullptr; }, this);
  }
  ~Thread() { pthread_join(thread, nullptr); }
};

/** Holds a lock of a kind for some time while `attempt` waits for it. */
template <typename Hold, typename Release, typename Attempt>
bool Contend(Hold hold, Release release, Attempt attempt) {
  int ready[2];
  if (pipe(ready) != 0) return false;
  Thread holder([&] {
    hold();
    (void)!write(ready[1], "x", 1);
    sleep(20);
    release();
  });
  char byte;
  (void)!read(ready[0], &byte, 1);
  const bool result = attempt();
  close(ready[0]);
  close(ready[1]);
  return result;
}

void Sleeps() {
  Case("sleep", 10, [] { return sleep(10) == 0; });
  Case("usleep", 10, [] { return usleep(10000000) == 0; });
  Case("nanosleep", 10.25, [] {
    const timespec time = For(10.25);
    return nanosleep(&time, nullptr) == 0;
  });
  Case("clock_nanosleep-relative", 10, [] {
    const timespec time = For(10);
    return clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr) == 0;
  });
  Case("clock_nanosleep-absolute", 10, [] {
    const timespec time = In(10, CLOCK_MONOTONIC);
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr) == 0;
  });
  Case("clock_nanosleep-realtime", 10, [] {
    const timespec time = In(10, CLOCK_REALTIME);
    return clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &time, nullptr) == 0 && Now(CLOCK_REALTIME) >= Seconds(time);
  });
  Case("thrd_sleep", 10, [] {
    const timespec time = For(10);
    return thrd_sleep(&time, nullptr) == 0;
  });
  Case("sleep-interrupted", 4, [] {
    CatchAlarms();
    alarm(4);
    const unsigned left = sleep(10);
    // glibc's own cuts the fraction of what is left off, which a moment after the signal is not quite 6.
    return (left == 5 || left == 6) && alarms == 1;
  });
}

void Descriptors() {
  int pipes[2];
  if (pipe(pipes) != 0) abort();
  pollfd waited = {pipes[0], POLLIN, 0};
  Case("poll", 10, [&] { return poll(&waited, 1, 10000) == 0; });
  Case("poll-nothing", 10, [] { return poll(nullptr, 0, 10000) == 0; });
  Case("ppoll", 10, [&] {
    const timespec time = For(10);
    sigset_t mask;
    sigemptyset(&mask);
    return ppoll(&waited, 1, &time, &mask) == 0;
  });
  Case("select", 10, [&] {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipes[0], &set);
    timeval time = {10, 0};
    return select(pipes[0] + 1, &set, nullptr, nullptr, &time) == 0 && time.tv_sec == 0 && !FD_ISSET(pipes[0], &set);
  });
  Case("pselect", 10, [&] {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipes[0], &set);
    const timespec time = For(10);
    return pselect(pipes[0] + 1, &set, nullptr, nullptr, &time, nullptr) == 0;
  });
  const int epoll = epoll_create1(0);
  epoll_event event = {EPOLLIN, {}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &event);
  Case("epoll_wait", 10, [&] { return epoll_wait(epoll, &event, 1, 10000) == 0; });
  Case("epoll_pwait", 10, [&] { return epoll_pwait(epoll, &event, 1, 10000, nullptr) == 0; });
  Case("epoll_pwait2", 10, [&] {
    const timespec time = For(10);
    return epoll_pwait2(epoll, &event, 1, &time, nullptr) == 0;
  });
  Case("poll-ready-meanwhile", 3, [&] {
    Thread writer([&] {
      sleep(3);
      (void)!write(pipes[1], "x", 1);
    });
    char byte;
    return poll(&waited, 1, 10000) == 1 && read(pipes[0], &byte, 1) == 1;
  });
  Case("poll-interrupted", 2, [&] {
    CatchAlarms();
    alarm(2);
    return poll(&waited, 1, 10000) == -1 && errno == EINTR && alarms == 1;
  });
  int sockets[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
  Case("SO_RCVTIMEO", 10, [&] {
    const timeval time = {10, 0};
    setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    char byte;
    return recv(sockets[0], &byte, 1, 0) == -1 && errno == EAGAIN;
  });
  Case("read-meanwhile", 3, [&] {
    Thread writer([&] {
      sleep(3);
      (void)!write(pipes[1], "x", 1);
    });
    char byte;
    return read(pipes[0], &byte, 1) == 1;
  });
}

void Synchronisation() {
  static Shared shared;
  sem_init(&shared.semaphore, 0, 0);
  Case("sem_timedwait", 10, [] {
    const timespec time = In(10, CLOCK_REALTIME);
    return sem_timedwait(&shared.semaphore, &time) == -1 && errno == ETIMEDOUT;
  });
  Case("sem_clockwait", 10, [] {
    const timespec time = In(10, CLOCK_MONOTONIC);
    return sem_clockwait(&shared.semaphore, CLOCK_MONOTONIC, &time) == -1 && errno == ETIMEDOUT;
  });
  Case("sem_post-meanwhile", 3, [] {
    Thread poster([] {
      sleep(3);
      sem_post(&shared.semaphore);
    });
    const timespec time = In(10, CLOCK_REALTIME);
    return sem_timedwait(&shared.semaphore, &time) == 0;
  });
  Case("pthread_cond_timedwait", 10, [] {
    const timespec time = In(10, CLOCK_REALTIME);
    pthread_mutex_lock(&shared.mutex);
    const int error = pthread_cond_timedwait(&shared.condition, &shared.mutex, &time);
    pthread_mutex_unlock(&shared.mutex);
    return error == ETIMEDOUT;
  });
  Case("pthread_cond_clockwait", 10, [] {
    const timespec time = In(10, CLOCK_MONOTONIC);
    pthread_mutex_lock(&shared.mutex);
    const int error = pthread_cond_clockwait(&shared.condition, &shared.mutex, CLOCK_MONOTONIC, &time);
    pthread_mutex_unlock(&shared.mutex);
    return error == ETIMEDOUT;
  });
  Case("pthread_cond-monotonic", 10, [] {
    pthread_condattr_t attributes;
    pthread_cond_t condition;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&condition, &attributes);
    const timespec time = In(10, CLOCK_MONOTONIC);
    pthread_mutex_lock(&shared.mutex);
    const int error = pthread_cond_timedwait(&condition, &shared.mutex, &time);
    pthread_mutex_unlock(&shared.mutex);
    pthread_cond_destroy(&condition);
    return error == ETIMEDOUT;
  });
  Case("pthread_cond_signal-meanwhile", 3, [] {
    Thread signaller([] {
      sleep(3);
      pthread_mutex_lock(&shared.mutex);
      shared.value = 1;
      pthread_cond_signal(&shared.condition);
      pthread_mutex_unlock(&shared.mutex);
    });
    const timespec time = In(10, CLOCK_REALTIME);
    pthread_mutex_lock(&shared.mutex);
    int error = 0;
    while (shared.value == 0 && error == 0) error = pthread_cond_timedwait(&shared.condition, &shared.mutex, &time);
    pthread_mutex_unlock(&shared.mutex);
    return error == 0;
  });
  Case("cnd_timedwait", 10, [] {
    cnd_t condition;
    mtx_t mutex;
    cnd_init(&condition);
    mtx_init(&mutex, mtx_timed);
    mtx_lock(&mutex);
    const timespec time = In(10, CLOCK_REALTIME);
    const int result = cnd_timedwait(&condition, &mutex, &time);
    mtx_unlock(&mutex);
    cnd_destroy(&condition);
    return result == thrd_timedout;
  });
  // The lock is held for 20 s by a thread that is joined: the case takes those, and the attempt ten.
  static double attempted;
  const auto timed = [](auto attempt) {
    const double start = Now();
    const int error = attempt();
    attempted = Now() - start;
    return error == ETIMEDOUT && attempted > 9.99 && attempted < 15;
  };
  Case("pthread_mutex_timedlock", 20, [&] {
    return Contend([] { pthread_mutex_lock(&shared.mutex); }, [] { pthread_mutex_unlock(&shared.mutex); },
                   [&] { return timed([] { const timespec time = In(10, CLOCK_REALTIME); return pthread_mutex_timedlock(&shared.mutex, &time); }); });
  });
  Case("pthread_rwlock_timedwrlock", 20, [&] {
    return Contend([] { pthread_rwlock_rdlock(&shared.rwlock); }, [] { pthread_rwlock_unlock(&shared.rwlock); },
                   [&] { return timed([] { const timespec time = In(10, CLOCK_REALTIME); return pthread_rwlock_timedwrlock(&shared.rwlock, &time); }); });
  });
  Case("futex-wait", 10, [] {
    uint32_t word = 0;
    const timespec time = For(10);
    return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &time, nullptr, 0) == -1 && errno == ETIMEDOUT;
  });
  Case("futex-wait-bitset", 10, [] {
    uint32_t word = 0;
    const timespec time = In(10, CLOCK_MONOTONIC);
    return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &time, nullptr, FUTEX_BITSET_MATCH_ANY) == -1 && errno == ETIMEDOUT;
  });
  Case("semtimedop", 10, [] {
    const int set = semget(IPC_PRIVATE, 1, 0600);
    sembuf operation = {0, -1, 0};
    const timespec time = For(10);
    const bool over = semtimedop(set, &operation, 1, &time) == -1 && errno == EAGAIN;
    semctl(set, 0, IPC_RMID);
    return over;
  });
}

void Timers() {
  Case("alarm", 10, [] {
    CatchAlarms();
    alarm(10);
    pause();
    return alarms == 1;
  });
  Case("alarm-interrupts-read", 10, [] {
    CatchAlarms();
    int pipes[2];
    char byte;
    if (pipe(pipes) != 0) return false;
    alarm(10);
    return read(pipes[0], &byte, 1) == -1 && errno == EINTR;
  });
  Case("setitimer-periodic", 12, [] {
    CatchAlarms();
    itimerval value = {{4, 0}, {4, 0}};
    setitimer(ITIMER_REAL, &value, nullptr);
    while (alarms < 3) pause();
    value = {};
    setitimer(ITIMER_REAL, &value, nullptr);
    return alarms == 3;
  });
  Case("timer_create", 10, [] {
    CatchAlarms();
    timer_t id;
    if (timer_create(CLOCK_MONOTONIC, nullptr, &id) != 0) return false;
    const itimerspec value = {{0, 0}, {10, 0}};
    timer_settime(id, 0, &value, nullptr);
    pause();
    timer_delete(id);
    return alarms == 1;
  });
  Case("timerfd-blocking-read", 10, [] {
    const int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    const itimerspec value = {{0, 0}, {10, 0}};
    timerfd_settime(fd, 0, &value, nullptr);
    uint64_t count = 0;
    const bool ok = read(fd, &count, sizeof count) == sizeof count && count == 1;
    close(fd);
    return ok;
  });
  Case("timerfd-absolute-epoll", 10, [] {
    const int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK), epoll = epoll_create1(0);
    const itimerspec value = {{0, 0}, In(10, CLOCK_REALTIME)};
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &value, nullptr);
    epoll_event event = {EPOLLIN, {}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    const bool ok = epoll_wait(epoll, &event, 1, 60000) == 1;
    close(fd);
    close(epoll);
    return ok;
  });
  Case("timerfd-periodic", 9, [] {
    const int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    const itimerspec value = {{3, 0}, {3, 0}};
    timerfd_settime(fd, 0, &value, nullptr);
    uint64_t count = 0, total = 0;
    while (total < 3 && read(fd, &count, sizeof count) == sizeof count) total += count;
    close(fd);
    return total == 3;
  });
  Case("timerfd-missed", 10, [] {
    const int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    const itimerspec value = {{3, 0}, {3, 0}};
    timerfd_settime(fd, 0, &value, nullptr);
    sleep(10);
    uint64_t count = 0;
    const bool ok = read(fd, &count, sizeof count) == sizeof count && count == 3;
    close(fd);
    return ok;
  });
  Case("sigtimedwait", 10, [] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    const timespec time = For(10);
    return sigtimedwait(&set, nullptr, &time) == -1 && errno == EAGAIN;
  });
}

void Processes() {
  Case("fork-and-wait", 10, [] {
    const pid_t child = fork();
    if (child == 0) {
      sleep(10);
      _exit(0);
    }
    int status;
    return waitpid(child, &status, 0) == child && status == 0;
  });
  Case("exec-scrubbed-environment", 10, [] {
    const pid_t child = fork();
    if (child == 0) {
      char* const argv[] = {const_cast<char*>("sleep"), const_cast<char*>("10"), nullptr};
      char* const environment[] = {nullptr};
      execve("/bin/sleep", argv, environment);
      _exit(127);
    }
    int status;
    return waitpid(child, &status, 0) == child && status == 0;
  });
  Case("vfork", 10, [] {
    const pid_t child = vfork();
    if (child == 0) {
      execl("/bin/sleep", "sleep", "10", nullptr);
      _exit(127);
    }
    int status;
    return waitpid(child, &status, 0) == child && status == 0;
  });
  Case("system", 10, [] { return system("sleep 10") == 0; });
}

void Clocks() {
  Case("clocks-agree", 100, [] {
    timespec raw, boot;
    timeval day;
    tms buffer;
    const double real = Now(CLOCK_REALTIME), mono = Now(), cpu = Now(CLOCK_PROCESS_CPUTIME_ID);
    clock_gettime(CLOCK_MONOTONIC_RAW, &raw);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    gettimeofday(&day, nullptr);
    const time_t seconds = time(nullptr);
    const clock_t ticks = times(&buffer);
    sleep(100);
    timespec raw2, boot2, got;
    timeval day2;
    clock_gettime(CLOCK_MONOTONIC_RAW, &raw2);
    clock_gettime(CLOCK_BOOTTIME, &boot2);
    gettimeofday(&day2, nullptr);
    timespec_get(&got, TIME_UTC);
    const auto about100 = [](double value) { return value > 99.9 && value < 110; };
    return about100(Now(CLOCK_REALTIME) - real) && about100(Now() - mono) && about100(Seconds(raw2) - Seconds(raw)) &&
           about100(Seconds(boot2) - Seconds(boot)) && about100(static_cast<double>(day2.tv_sec - day.tv_sec)) &&
           about100(static_cast<double>(time(nullptr) - seconds) + 0.5) && about100(Seconds(got) - real) &&
           about100(static_cast<double>(times(&buffer) - ticks) / static_cast<double>(sysconf(_SC_CLK_TCK))) &&
           Now(CLOCK_PROCESS_CPUTIME_ID) - cpu < 10;
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) only = argv[1];
  Sleeps();
  Descriptors();
  Synchronisation();
  Timers();
  Processes();
  Clocks();
  return failures == 0 ? 0 : 1;
}
