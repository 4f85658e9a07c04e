#include "sandbox_cgroup.h"

#include <dirent.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include <algorithm>

namespace clove {
namespace {

const char* const kControllerNames[] = {"memory", "cpu", "pids", "cpuset", "freezer"};

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (at <= text.size()) {
    size_t end = text.find(separator, at);
    if (end == std::string::npos) end = text.size();
    if (end > at) parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

uint32_t ControllerBits(const std::vector<std::string>& names) {
  uint32_t bits = 0;
  for (const std::string& name : names)
    for (int c = 0; c < CONTROLLER_COUNT; c++)
      if (name == kControllerNames[c]) bits |= 1u << c;
  return bits;
}

CgroupHost Discover() {
  CgroupHost host;
  std::string mounts, own;
  if (!ReadFileAt(AT_FDCWD, "/proc/self/mountinfo", mounts)) return host;
  ReadFileAt(AT_FDCWD, "/proc/self/cgroup", own);
  for (const std::string& line : Split(mounts, '\n')) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> left = Split(line.substr(0, dash), ' '), right = Split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    Hierarchy hierarchy;
    hierarchy.mount = left[4];
    struct statfs info {};  // a mount may be covered by another
    if (statfs(hierarchy.mount.c_str(), &info) != 0) continue;
    if (right[0] == "cgroup2") {
      if (host.unified >= 0 || info.f_type != CGROUP2_SUPER_MAGIC) continue;
      hierarchy.unified = true;
      std::string controllers;
      ReadFileAt(AT_FDCWD, (hierarchy.mount + "/cgroup.controllers").c_str(), controllers);
      while (!controllers.empty() && controllers.back() == '\n') controllers.pop_back();
      hierarchy.controllers = ControllerBits(Split(controllers, ' '));
    } else if (right[0] == "cgroup") {
      hierarchy.controllers = ControllerBits(Split(right[2], ','));
      if (hierarchy.controllers == 0 || info.f_type != CGROUP_SUPER_MAGIC) continue;
    } else {
      continue;
    }
    for (const std::string& entry : Split(own, '\n')) {
      const size_t first = entry.find(':'), second = entry.find(':', first + 1);
      if (second == std::string::npos) continue;
      const std::string names = entry.substr(first + 1, second - first - 1);
      if (hierarchy.unified ? !names.empty() : (ControllerBits(Split(names, ',')) & hierarchy.controllers) == 0) continue;
      hierarchy.v1Name = names;
      hierarchy.ownPath = entry.substr(second + 1) == "/" ? "" : entry.substr(second + 1);
    }
    const int index = static_cast<int>(host.hierarchies.size());
    if (hierarchy.unified) host.unified = index;
    for (int c = 0; c < CONTROLLER_COUNT; c++)
      if ((hierarchy.controllers & (1u << c)) != 0 && host.of[c] < 0) host.of[c] = index;
    host.hierarchies.push_back(hierarchy);
  }
  return host;
}

void SleepMs(long milliseconds) {
  const timespec pause{milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&pause, nullptr);
}

/** v1 cpuset groups start empty and take no process until their sets are filled. */
void InheritCpuset(int parent, int child) {
  for (const char* name : {"cpuset.cpus", "cpuset.mems"}) {
    std::string now, above;
    if (ReadFileAt(child, name, now) && now.size() > 1) continue;
    if (ReadFileAt(parent, name, above)) WriteFileAt(child, name, above);
  }
}

/** Switches v2 controllers on for the children of a group; returns those that are on afterwards. */
uint32_t EnableControllers(int directory, uint32_t wanted) {
  std::string current;
  for (int c = 0; c < CONTROLLER_COUNT; c++)
    if ((wanted & (1u << c)) != 0) WriteFileAt(directory, "cgroup.subtree_control", std::string("+") + kControllerNames[c]);
  ReadFileAt(directory, "cgroup.subtree_control", current);
  while (!current.empty() && current.back() == '\n') current.pop_back();
  return ControllerBits(Split(current, ' ')) & wanted;
}

/** Processes keep a v2 group from giving controllers to its children: where they are only we, we step into a child. */
void LeaveGroup(const std::string& group) {
  std::string processes;
  ReadFileAt(AT_FDCWD, (group + "/cgroup.procs").c_str(), processes);
  if (Split(processes, '\n') != std::vector<std::string>{std::to_string(getpid())}) return;
  const std::string leaf = group + "/clove-kernel";
  if (mkdir(leaf.c_str(), 0755) == 0 || errno == EEXIST) WriteFileAt(AT_FDCWD, (leaf + "/cgroup.procs").c_str(), std::to_string(getpid()));
}

/** Makes base/path group by group, locks the last. Returns 0 or errno. */
int OpenChain(const Hierarchy& hierarchy, const std::string& base, const std::string& path, Fd& result, uint32_t& enabled) {
  Fd directory(open(base.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return errno;
  uint32_t on = hierarchy.unified ? EnableControllers(directory.get(), hierarchy.controllers) : 0;
  if (hierarchy.unified && on != hierarchy.controllers) {
    LeaveGroup(base);
    on = EnableControllers(directory.get(), hierarchy.controllers);
  }
  for (const std::string& part : Split(path, '/')) {
    if (mkdirat(directory.get(), part.c_str(), 0755) != 0 && errno != EEXIST) return errno;
    Fd next(openat(directory.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!next.valid()) return errno;
    if (hierarchy.unified) on = EnableControllers(next.get(), on);
    else if ((hierarchy.controllers & (1u << C_CPUSET)) != 0) InheritCpuset(directory.get(), next.get());
    directory = std::move(next);
  }
  flock(directory.get(), LOCK_EX | LOCK_NB);
  // Had a clean-up removed the group before the lock was ours, its files would be gone.
  if (faccessat(directory.get(), "cgroup.procs", F_OK, 0) != 0) return ENOENT;
  if (hierarchy.unified) enabled = on;
  result = std::move(directory);
  return 0;
}

}  // namespace

const CgroupHost& HostCgroups() {
  static const CgroupHost host = Discover();
  return host;
}

std::shared_ptr<CgroupParent> CgroupParent::Open(const std::string& path, Failure& failure) {
  const CgroupHost& host = HostCgroups();
  auto parent = std::make_shared<CgroupParent>();
  parent->path_ = path;
  parent->directories_.resize(host.hierarchies.size());
  parent->absolute_.resize(host.hierarchies.size());
  for (size_t i = 0; i < host.hierarchies.size(); i++) {
    const Hierarchy& hierarchy = host.hierarchies[i];
    int error = ENOENT;
    // ENOENT in between: another kernel just removed a parent that was empty. Once more makes it anew.
    for (int attempt = 0; attempt < 5 && error == ENOENT; attempt++) {
      for (const std::string& base : {hierarchy.mount, hierarchy.mount + hierarchy.ownPath}) {
        error = OpenChain(hierarchy, base, path, parent->directories_[i], parent->enabled_);
        parent->absolute_[i] = base.substr(hierarchy.mount.size()) + "/" + path;
        if (error == 0) break;
      }
    }
    if (error != 0 && failure.step == S_NONE) failure = {S_cgroup_create, error, hierarchy.mount + "/" + path};
  }
  return parent;
}

CgroupParent::~CgroupParent() {
  const CgroupHost& host = HostCgroups();
  for (size_t i = 0; i < directories_.size(); i++) {
    if (!directories_[i].valid()) continue;
    // Only empty groups can be removed, so what somebody else uses stays.
    std::string absolute = host.hierarchies[i].mount + absolute_[i];
    directories_[i].reset();
    for (size_t part = 0; part < Split(path_, '/').size() && rmdir(absolute.c_str()) == 0; part++) absolute.resize(absolute.rfind('/'));
  }
}

int Cgroup::Of(Controller controller) const {
  const int index = HostCgroups().of[controller];
  if (index < 0 || static_cast<size_t>(index) >= directories_.size()) return -1;
  if (HostCgroups().hierarchies[index].unified) return (parent_->enabled() & (1u << controller)) != 0 ? unified_.get() : -1;
  return directories_[index].get();
}

bool Cgroup::memoryIsV1() const {
  const int index = HostCgroups().of[C_MEMORY];
  return index >= 0 && !HostCgroups().hierarchies[index].unified;
}

std::string Cgroup::WriteLimit(Step step, int directory, bool v1, const CgroupLimits& limits, std::string& problem) const {
  std::string how;
  const auto set = [&](const char* file, const std::string& value, bool exact = true) {
    if (!problem.empty()) return;
    const Fd fd(openat(directory, file, O_RDWR | O_CLOEXEC));
    char read[256];
    const bool written = fd.valid() && write(fd.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
    const ssize_t size = written ? pread(fd.get(), read, sizeof read, 0) : -1;
    if (size < 0) {
      problem = file;
      return;
    }
    std::string back(read, static_cast<size_t>(size));
    while (!back.empty() && back.back() == '\n') back.pop_back();
    if (exact && back != value) {
      errno = ERANGE;
      problem = std::string(file) + " reads back as " + back;
      return;
    }
    if (!how.empty()) how += ", ";
    how += std::string(v1 ? "cgroup1:" : "cgroup2:") + file + "=" + back;
  };
  const auto number = [](int64_t value) { return std::to_string(value); };
  const int64_t page = sysconf(_SC_PAGESIZE), memory = limits.memoryBytes / page * page;
  const int64_t swap = limits.swapBytes < 0 ? 0 : limits.swapBytes / page * page;
  switch (step) {
    case S_cgroup_memory:
      set(v1 ? "memory.limit_in_bytes" : "memory.max", number(memory));
      if (!v1) set("memory.oom.group", "1");
      break;
    case S_cgroup_swap:
      set(v1 ? "memory.memsw.limit_in_bytes" : "memory.swap.max", number(v1 ? memory + swap : swap));
      break;
    case S_cgroup_cpu:
      if (limits.cpuQuotaUs >= 0 && v1) {
        if (limits.cpuPeriodUs != 100000) set("cpu.cfs_period_us", number(limits.cpuPeriodUs));
        set("cpu.cfs_quota_us", number(limits.cpuQuotaUs));
      } else if (limits.cpuQuotaUs >= 0) {
        set("cpu.max", number(limits.cpuQuotaUs) + " " + number(limits.cpuPeriodUs));
      }
      if (limits.cpuShares >= 0 && v1) set("cpu.shares", number(limits.cpuShares));
      // The kernel's own mapping of 2..262144 to 1..10000.
      else if (limits.cpuShares >= 0) set("cpu.weight", number(1 + (limits.cpuShares - 2) * 9999 / 262142));
      break;
    case S_cgroup_pids:
      set("pids.max", number(limits.maxPids));
      break;
    case S_cgroup_cpuset:
      set("cpuset.cpus", limits.cpus, false);
      break;
    default:
      break;
  }
  return how;
}

Failure Cgroup::Limit(Layer layer, Step step, Controller controller, bool asked, uint64_t disable, uint64_t require, Step faultStep,
                      int faultErrno, LayerResult* layers, const CgroupLimits& limits) {
  LayerResult& result = layers[layer];
  result = {STATE_OFF, 0, ""};
  const auto how = [&](const std::string& text) { snprintf(result.how, sizeof result.how, "%s", text.c_str()); };
  if ((disable & bit(layer)) != 0) {
    how("left out by request");
    return {};
  }
  if (!asked) {
    result.state = STATE_NA;
    how("no limit asked for");
    return {};
  }
  const int directory = Of(controller);
  std::string problem, done;
  int error = 0;
  if (faultStep == step) {
    problem = "fault injection";
    error = faultErrno;
  } else if (directory < 0) {
    problem = std::string("no usable ") + kControllerNames[controller] + " controller";
    error = ENOENT;
  } else {
    const int index = HostCgroups().of[controller];
    done = WriteLimit(step, directory, !HostCgroups().hierarchies[index].unified, limits, problem);
    if (!problem.empty()) error = errno;
  }
  if (error == 0) {
    result.state = STATE_ON;
    how(done + " (read back)");
    return {};
  }
  if ((require & bit(layer)) != 0) return {step, error, problem};
  result.error = error;
  how(problem);
  return {};
}

Failure Cgroup::Create(std::shared_ptr<CgroupParent> parent, const std::string& name, const CgroupLimits& limits, uint64_t disable,
                       uint64_t require, Step faultStep, int faultErrno, LayerResult* layers) {
  parent_ = std::move(parent);
  name_ = name;
  const CgroupHost& host = HostCgroups();
  directories_.resize(host.hierarchies.size());
  uint32_t needed = 1u << C_MEMORY;
  if (limits.cpuQuotaUs >= 0 || limits.cpuShares >= 0) needed |= 1u << C_CPU;
  if (limits.maxPids >= 0) needed |= 1u << C_PIDS;
  if (!limits.cpus.empty()) needed |= 1u << C_CPUSET;
  if (host.unified < 0) needed |= 1u << C_FREEZER;
  if (faultStep == S_cgroup_create) return {S_cgroup_create, faultErrno, "fault injection"};
  for (size_t i = 0; i < host.hierarchies.size(); i++) {
    const Hierarchy& hierarchy = host.hierarchies[i];
    if ((!hierarchy.unified && (hierarchy.controllers & needed) == 0) || parent_->directory(static_cast<int>(i)) < 0) continue;
    const int above = parent_->directory(static_cast<int>(i));
    if (mkdirat(above, name.c_str(), 0755) != 0) {
      // A leftover of the same name may only be reused when it is empty, and then it is made anew.
      if (errno != EEXIST || unlinkat(above, name.c_str(), AT_REMOVEDIR) != 0 || mkdirat(above, name.c_str(), 0755) != 0)
        return {S_cgroup_create, errno, parent_->absolute(static_cast<int>(i)) + "/" + name};
    }
    Fd directory(openat(above, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!directory.valid()) return {S_cgroup_create, errno, name};
    if (hierarchy.unified) unified_ = Fd(fcntl(directory.get(), F_DUPFD_CLOEXEC, 0));
    else if ((hierarchy.controllers & needed & (1u << C_CPUSET)) != 0) InheritCpuset(above, directory.get());
    directories_[i] = std::move(directory);
  }
  const auto limit = [&](Layer layer, Step step, Controller controller, bool asked) {
    return Limit(layer, step, controller, asked, disable, require, faultStep, faultErrno, layers, limits);
  };
  if (Failure f = limit(L_mem, S_cgroup_memory, C_MEMORY, limits.memoryBytes >= 0)) return f;
  if (Failure f = limit(L_swap, S_cgroup_swap, C_MEMORY, limits.memoryBytes >= 0 && limits.swapBytes >= 0)) return f;
  if (Failure f = limit(L_cpu, S_cgroup_cpu, C_CPU, limits.cpuQuotaUs >= 0 || limits.cpuShares >= 0)) return f;
  if (Failure f = limit(L_pids, S_cgroup_pids, C_PIDS, limits.maxPids >= 0)) return f;
  if (Failure f = limit(L_cpuset, S_cgroup_cpuset, C_CPUSET, !limits.cpus.empty())) return f;
  const auto report = [&](Layer layer, LayerState state, const char* how) {
    layers[layer] = {state, 0, ""};
    snprintf(layers[layer].how, sizeof layers[layer].how, "%s", (disable & bit(layer)) != 0 ? "left out by request" : how);
    if ((disable & bit(layer)) != 0) layers[layer].state = STATE_OFF;
  };
  if (unified_.valid()) report(L_freeze, STATE_ON, "cgroup2:cgroup.freeze");
  else if (Of(C_FREEZER) >= 0) report(L_freeze, STATE_ON, "cgroup1:freezer.state");
  else report(L_freeze, STATE_OFF, "no cgroup2 and no freezer controller");
  if (unified_.valid()) report(L_kill, STATE_ON, "cgroup2:cgroup.kill");
  else if ((disable & bit(L_pidns)) == 0) report(L_kill, STATE_ON, "SIGKILL to PID 1 of the pid namespace");
  else report(L_kill, STATE_DEGRADED, "SIGKILL to the main process, then to its descendants one by one");
  for (Layer layer : {L_freeze, L_kill})
    if ((require & bit(layer)) != 0 && layers[layer].state != STATE_ON) return {S_cgroup_create, ENOENT, layers[layer].how};
  return {};
}

Failure Cgroup::OpenTasks(std::vector<Fd>& tasks) const {
  for (size_t i = 0; i < directories_.size(); i++) {
    if (!directories_[i].valid() || HostCgroups().hierarchies[i].unified) continue;
    tasks.emplace_back(openat(directories_[i].get(), "tasks", O_WRONLY | O_CLOEXEC));
    if (!tasks.back().valid()) return {S_cgroup_create, errno, HostCgroups().hierarchies[i].v1Name};
  }
  return {};
}

bool Cgroup::Contains(const std::string& procCgroup, std::string& wrong) const {
  for (size_t i = 0; i < directories_.size(); i++) {
    if (!directories_[i].valid()) continue;
    const std::string line = ":" + HostCgroups().hierarchies[i].v1Name + ":" + parent_->absolute(static_cast<int>(i)) + "/" + name_ + "\n";
    if (procCgroup.find(line) != std::string::npos) continue;
    wrong = line.substr(1, line.size() - 2);
    return false;
  }
  return true;
}

bool Cgroup::Kill() const { return unified_.valid() && WriteFileAt(unified_.get(), "cgroup.kill", "1"); }

bool Cgroup::SetFrozen(bool frozen) const {
  if (unified_.valid()) return WriteFileAt(unified_.get(), "cgroup.freeze", frozen ? "1" : "0");
  const int freezer = Of(C_FREEZER);
  if (freezer >= 0) return WriteFileAt(freezer, "freezer.state", frozen ? "FROZEN" : "THAWED");
  errno = ENOTSUP;
  return false;
}

bool Cgroup::IsFrozen() const {
  std::string content;
  if (unified_.valid()) return ReadFileAt(unified_.get(), "cgroup.events", content) && NumberOf(content, "frozen") == 1;
  return ReadFileAt(Of(C_FREEZER), "freezer.state", content) && content == "FROZEN\n";
}

bool Cgroup::Populated() const {
  if (!unified_.valid()) return !Processes().empty();
  std::string content;
  return ReadFileAt(unified_.get(), "cgroup.events", content) && NumberOf(content, "populated") == 1;
}

std::vector<int> Cgroup::Processes() const {
  std::vector<int> processes;
  int directory = unified_.get();
  for (const Fd& candidate : directories_)
    if (directory < 0) directory = candidate.get();
  std::string content;
  if (directory < 0 || !ReadFileAt(directory, "cgroup.procs", content)) return processes;
  for (const std::string& line : Split(content, '\n')) processes.push_back(atoi(line.c_str()));
  return processes;
}

uint64_t Cgroup::OomKills() const {
  const int memory = Of(C_MEMORY);
  std::string content;
  if (memory < 0 || !ReadFileAt(memory, memoryIsV1() ? "memory.oom_control" : "memory.events", content)) return 0;
  return NumberOf(content, "oom_kill");
}

void Cgroup::CpuTimes(uint64_t& userUs, uint64_t& systemUs) const {
  std::string content;
  userUs = systemUs = 0;
  if (!unified_.valid() || !ReadFileAt(unified_.get(), "cpu.stat", content)) return;
  userUs = NumberOf(content, "user_usec");
  systemUs = NumberOf(content, "system_usec");
}

CgroupUsage Cgroup::Usage(bool atEnd) const {
  CgroupUsage usage;
  std::string content;
  const auto positive = [](int64_t value) { return static_cast<uint64_t>(std::max<int64_t>(value, 0)); };
  if (const int memory = Of(C_MEMORY); memory >= 0) {
    const bool v1 = memoryIsV1();
    usage.memoryPeakBytes = positive(ReadNumberAt(memory, v1 ? "memory.max_usage_in_bytes" : "memory.peak", 0));
    usage.oomKills = OomKills();
    if (!atEnd) {
      usage.memoryBytes = positive(ReadNumberAt(memory, v1 ? "memory.usage_in_bytes" : "memory.current", 0));
      usage.memoryPeakBytes = std::max(usage.memoryPeakBytes, usage.memoryBytes);
      const int64_t limit = ReadNumberAt(memory, v1 ? "memory.limit_in_bytes" : "memory.max", -1);
      usage.memoryLimit = limit >= (int64_t{1} << 62) ? -1 : limit;  // v1 writes "no limit" as a huge number
    }
  }
  CpuTimes(usage.cpuUserUs, usage.cpuSystemUs);
  usage.cpuUsageUs = usage.cpuUserUs + usage.cpuSystemUs;
  if (const int cpu = Of(C_CPU); cpu >= 0 && ReadFileAt(cpu, "cpu.stat", content)) {
    usage.periods = NumberOf(content, "nr_periods");
    usage.throttledPeriods = NumberOf(content, "nr_throttled");
    usage.throttledUs = std::max(NumberOf(content, "throttled_usec"), NumberOf(content, "throttled_time") / 1000);
  }
  if (const int pids = Of(C_PIDS); pids >= 0) {
    if (!atEnd) usage.pids = positive(ReadNumberAt(pids, "pids.current", 0));
    if (!atEnd) usage.pidsLimit = ReadNumberAt(pids, "pids.max", -1);
    if (ReadFileAt(pids, "pids.events", content)) usage.pidsRefused = NumberOf(content, "max");
  }
  return usage;
}

int Cgroup::Remove() {
  int error = 0;
  for (size_t i = 0; i < directories_.size(); i++) {
    if (!directories_[i].valid()) continue;
    if (unlinkat(parent_->directory(static_cast<int>(i)), name_.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) directories_[i].reset();
    else if (error == 0) error = errno;
  }
  if (error == 0) unified_.reset();
  return error;
}

namespace {

std::vector<std::string> Children(int directory) {
  std::vector<std::string> names;
  const int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* stream = copy < 0 ? nullptr : fdopendir(copy);
  if (stream == nullptr) return names;
  while (const dirent* entry = readdir(stream))
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.push_back(entry->d_name);
  closedir(stream);
  return names;
}

/** Kills what is in a group and its children, then removes them. */
void RemoveTree(int above, const std::string& name, bool unified) {
  Fd directory(openat(above, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!directory.valid()) return;
  if (unified) WriteFileAt(directory.get(), "cgroup.kill", "1");
  for (const std::string& child : Children(directory.get())) RemoveTree(directory.get(), child, unified);
  for (int attempt = 0; attempt < 400; attempt++) {
    std::string processes;
    ReadFileAt(directory.get(), "cgroup.procs", processes);
    for (const std::string& pid : Split(processes, '\n')) kill(atoi(pid.c_str()), SIGKILL);
    if (!unified) WriteFileAt(directory.get(), "freezer.state", "THAWED");  // v1: a frozen process dies only when thawed
    if (unlinkat(above, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return;
    SleepMs(5);
  }
}

}  // namespace

bool RemoveParent(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string above = slash == std::string::npos ? "" : path.substr(0, slash), name = path.substr(slash + 1);
  for (const Hierarchy& hierarchy : HostCgroups().hierarchies) {
    for (const std::string& base : {hierarchy.mount, hierarchy.mount + hierarchy.ownPath}) {
      const std::string absolute = base + "/" + above;
      const Fd directory(open(absolute.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!directory.valid()) continue;
      const Fd group(openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
      if (!group.valid()) continue;
      if (flock(group.get(), LOCK_EX | LOCK_NB) != 0) return false;
      RemoveTree(directory.get(), name, hierarchy.unified);
      if (!above.empty()) rmdir(absolute.c_str());  // only when nobody else has a group there
    }
  }
  return true;
}

}  // namespace clove
