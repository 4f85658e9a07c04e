// Clears the groups of kernels that are gone. A process there may be one that no SIGKILL ends for now: frozen by somebody else, or in a system call that
// hangs. So nothing is waited for in turn: each pass kills, thaws and removes what it can, everywhere.
#include "sandbox_clear.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <vector>

#include "../init/sys.h"
#include "sandbox_cgroup.h"
#include "sandbox_request.h"

namespace clove::clearing {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kPatienceUs = 2000 * kMs;
constexpr milliseconds kFirstPause{1}, kLongestPause{20};
constexpr size_t kPidsTold = 8, kHeldAtOnce = 64;

/** The parent group in one hierarchy; `group` holds its lock. */
struct Place {
  const Hierarchy* hierarchy;
  std::string above, name;
  Fd directory, group;
};

struct Job {
  std::string path;
  std::function<void(Outcome)> done;
  uint64_t deadlineUs = 0;
  std::vector<Place> places;
  std::string left;
};

std::vector<std::string> Children(int directory) {
  std::vector<std::string> names;
  const int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* stream = copy < 0 ? nullptr : fdopendir(copy);
  if (stream == nullptr) {
    if (copy >= 0) close(copy);
    return names;
  }
  while (const dirent* entry = readdir(stream))
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.push_back(entry->d_name);
  closedir(stream);
  return names;
}

/** SIGKILL to the processes of a group, and to nobody who has got the number of one meanwhile. */
void KillMembers(int group, const std::vector<std::string>& pids) {
  // Some at a time: a group may have more processes than we may have descriptors.
  for (size_t from = 0; from < pids.size(); from += kHeldAtOnce) {
    std::vector<std::pair<const std::string*, Fd>> held;
    // A process of a pid namespace that is not below ours is listed as 0.
    for (size_t i = from; i < std::min(pids.size(), from + kHeldAtOnce); i++)
      if (const int number = atoi(pids[i].c_str()); number > 0) held.emplace_back(&pids[i], Fd(PidfdOpen(number)));
    std::string now;
    ReadFileAt(group, "cgroup.procs", now);
    const std::vector<std::string> list = Split(now, '\n');
    const std::set<std::string> members(list.begin(), list.end());
    for (const auto& [pid, pidfd] : held)
      if (pidfd.valid() && members.contains(*pid)) PidfdSendSignal(pidfd.get(), SIGKILL);
  }
}

/** One pass over a group and what is below it. False: it stays for now, `left` says where. */
bool Sweep(int above, const std::string& name, const std::string& path, bool unified, bool isKilled, std::string& left) {
  const Fd directory(openat(above, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!directory.valid()) return errno == ENOENT;
  isKilled = isKilled || (unified && WriteFileAt(directory.get(), "cgroup.kill", "1"));
  bool isEmpty = true;
  for (const std::string& child : Children(directory.get()))
    isEmpty = Sweep(directory.get(), child, path + "/" + child, unified, isKilled, left) && isEmpty;
  if (isEmpty && (unlinkat(above, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT)) return true;
  const int error = isEmpty ? errno : EBUSY;
  std::string processes;
  ReadFileAt(directory.get(), "cgroup.procs", processes);
  const std::vector<std::string> pids = Split(processes, '\n');
  if (!isKilled) KillMembers(directory.get(), pids);
  if (!unified) WriteFileAt(directory.get(), "freezer.state", "THAWED");  // v1: what this group has frozen dies only when thawed
  if (!left.empty() || (!isEmpty && pids.empty())) return false;
  left = path + " (" + ErrnoName(error);
  for (size_t i = 0; i < std::min(pids.size(), kPidsTold); i++) left += (i == 0 ? ", processes " : " ") + pids[i];
  left += pids.size() > kPidsTold ? " …)" : ")";
  return false;
}

/** Takes the locks, all of them before anything is touched. False: somebody lives here. */
bool Find(Job& job) {
  const size_t slash = job.path.rfind('/');
  const std::string above = slash == std::string::npos ? "" : job.path.substr(0, slash), name = job.path.substr(slash + 1);
  std::set<std::pair<dev_t, ino_t>> known;
  for (const Hierarchy& hierarchy : HostCgroups().hierarchies) {
    for (size_t base = 0; base < (hierarchy.ownPath.empty() ? 1 : 2); base++) {
      Place place{&hierarchy, hierarchy.mount + (base == 0 ? "" : hierarchy.ownPath) + "/" + above, name, Fd(), Fd()};
      place.directory = Fd(open(place.above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!place.directory.valid()) continue;
      place.group = Fd(openat(place.directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
      struct stat info {};
      if (!place.group.valid() || fstat(place.group.get(), &info) != 0) continue;
      if (!known.insert({info.st_dev, info.st_ino}).second) continue;  // a hierarchy may be mounted more than once
      if (flock(place.group.get(), LOCK_EX | LOCK_NB) != 0) return false;
      job.places.push_back(std::move(place));
    }
  }
  // First the one that kills all at once.
  std::stable_partition(job.places.begin(), job.places.end(), [](const Place& place) { return place.hierarchy->unified; });
  return true;
}

/** One pass over all hierarchies. True: nothing is left. */
bool Pass(Job& job) {
  job.left.clear();
  std::erase_if(job.places, [&](Place& place) {
    const bool isGone = Sweep(place.directory.get(), place.name, place.above + "/" + place.name, place.hierarchy->unified, false, job.left);
    if (isGone && job.path.find('/') != std::string::npos) rmdir(place.above.c_str());  // only when nobody else has a group there
    return isGone;
  });
  return job.places.empty();
}

class Clearer {
 public:
  void Add(Job job) {
    int error = 0;
    {
      const std::lock_guard lock(mutex_);
      if (!running_) error = Run();
      running_ = error == 0;
      if (running_) added_.push_back(std::move(job));
    }
    if (error == 0) wanted_.notify_one();
    else job.done({Outcome::Stays, job.path + " (no thread to clear it: " + ErrnoName(error) + ")"});
  }

 private:
  /** Not a std::thread: where there can be no more threads, it ends the process. */
  int Run() {
    pthread_t thread;
    const int error = pthread_create(&thread, nullptr, [](void* clearer) -> void* {
      static_cast<Clearer*>(clearer)->Loop();
      return nullptr;
    }, this);
    if (error == 0) pthread_detach(thread);
    return error;
  }

  void Loop() {
    pthread_setname_np(pthread_self(), "clove-clear");
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    std::vector<Job> jobs;
    milliseconds pause = kFirstPause;
    std::unique_lock lock(mutex_);
    for (;;) {
      if (jobs.empty()) wanted_.wait(lock, [this] { return !added_.empty(); });
      else wanted_.wait_for(lock, pause, [this] { return !added_.empty(); });
      std::deque<Job> added = std::exchange(added_, {});
      lock.unlock();
      pause = added.empty() ? std::min(pause * 2, kLongestPause) : kFirstPause;
      for (Job& job : added) {
        job.deadlineUs = NowUs() + kPatienceUs;
        if (Find(job)) jobs.push_back(std::move(job));
        else job.done({Outcome::Held, ""});
      }
      std::erase_if(jobs, [](Job& job) {
        const bool isGone = Pass(job);
        if (!isGone && NowUs() < job.deadlineUs) return false;
        job.places.clear();  // gives up the locks before anybody hears of it
        job.done(isGone ? Outcome{} : Outcome{Outcome::Stays, job.left});
        return true;
      });
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wanted_;
  std::deque<Job> added_;
  bool running_ = false;
};

}  // namespace

void Begin(std::string path, std::function<void(Outcome)> done) {
  static Clearer* const clearer = new Clearer();  // its thread has no end of its own
  Job job;
  job.path = std::move(path);
  job.done = std::move(done);
  clearer->Add(std::move(job));
}

}  // namespace clove::clearing
