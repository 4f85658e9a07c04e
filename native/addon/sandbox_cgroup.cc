// The groups of one sandbox: limits, figures, freeze, kill.
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include <algorithm>

#include "sandbox_cgroup.h"

namespace clove {

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
      if (!v1 && limits.oomGroup) set("memory.oom.group", "1");
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
    const int index = HostCgroups().of[controller];
    const int refused = index < 0 ? 0 : parent_->error(index);
    problem = std::string(refused != 0 ? "no group of ours under the " : "no usable ") + kControllerNames[controller] + " controller";
    error = refused != 0 ? refused : ENOENT;
  } else {
    const int index = HostCgroups().of[controller];
    done = WriteLimit(step, directory, !HostCgroups().hierarchies[index].unified, limits, problem);
    if (!problem.empty()) error = errno;
  }
  if (error == 0) {
    result.state = STATE_ON;
    how(done + " (read back)" + (layer == L_cpu && !parent_->weight().empty() ? "; all agents together " + parent_->weight() : ""));
    return {};
  }
  if ((require & bit(layer)) != 0) return {step, error, problem};
  result.error = error;
  how(problem);
  return {};
}

Failure Cgroup::Create(std::shared_ptr<CgroupParent> parent, const std::string& name, const CgroupLimits& limits, bool ahead,
                       Step faultStep, int faultErrno) {
  parent_ = std::move(parent);
  name_ = name;
  const CgroupHost& host = HostCgroups();
  directories_.resize(host.hierarchies.size());
  uint32_t needed = 1u << C_MEMORY;
  if (ahead || limits.cpuQuotaUs >= 0 || limits.cpuShares >= 0) needed |= 1u << C_CPU;
  if (ahead || limits.maxPids >= 0) needed |= 1u << C_PIDS;
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
    if (directory.valid() && hierarchy.unified) unified_ = Fd(fcntl(directory.get(), F_DUPFD_CLOEXEC, 0));
    if (!directory.valid() || (hierarchy.unified && !unified_.valid())) {
      const int error = errno;  // out of descriptors: what is not known to be ours would stay behind
      unlinkat(above, name.c_str(), AT_REMOVEDIR);
      return {S_cgroup_create, error, name};
    }
    if (!hierarchy.unified && (hierarchy.controllers & needed & (1u << C_CPUSET)) != 0) InheritCpuset(above, directory.get());
    directories_[i] = std::move(directory);
  }
  return {};
}

Failure Cgroup::Apply(const CgroupLimits& limits, uint64_t disable, uint64_t require, Step faultStep, int faultErrno, LayerResult* layers) {
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
  else {
    const CgroupHost& host = HostCgroups();
    const int index = host.unified >= 0 ? host.unified : host.of[C_FREEZER];
    const int refused = index < 0 ? 0 : parent_->error(index);
    report(L_freeze, STATE_OFF, refused != 0 ? "no group of ours under cgroup2 or the freezer controller" : "no cgroup2 and no freezer controller");
    if ((disable & bit(L_freeze)) == 0) layers[L_freeze].error = refused != 0 ? refused : ENOENT;
  }
  if (unified_.valid()) report(L_kill, STATE_ON, "cgroup2:cgroup.kill");
  else if ((disable & bit(L_pidns)) == 0) report(L_kill, STATE_ON, "SIGKILL to PID 1 of the pid namespace");
  else report(L_kill, STATE_DEGRADED, kOneByOne);
  for (Layer layer : {L_freeze, L_kill})
    if ((require & bit(layer)) != 0 && layers[layer].state != STATE_ON) return {S_cgroup_create, layers[layer].error != 0 ? layers[layer].error : ENOENT, layers[layer].how};
  return {};
}

Failure Cgroup::OpenTasks(std::vector<Fd>& tasks, bool withUnified) const {
  for (size_t i = 0; i < directories_.size(); i++) {
    const bool unified = HostCgroups().hierarchies[i].unified;
    if (!directories_[i].valid() || (unified && !withUnified)) continue;
    tasks.emplace_back(openat(directories_[i].get(), unified ? "cgroup.procs" : "tasks", O_WRONLY | O_CLOEXEC));
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

void Cgroup::LiftCpuQuota() const {
  constexpr int64_t kMany = 16;
  const int cpu = Of(C_CPU), pids = Of(C_PIDS);
  if (cpu < 0 || pids < 0 || ReadNumberAt(pids, "pids.current", 0) < kMany) return;
  const bool v1 = !HostCgroups().hierarchies[HostCgroups().of[C_CPU]].unified;
  WriteFileAt(cpu, v1 ? "cpu.cfs_quota_us" : "cpu.max", v1 ? "-1" : "max");
}

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
  for (const std::string& line : Split(content, '\n'))
    if (const int pid = atoi(line.c_str()); pid > 0) processes.push_back(pid);  // 0 = of a foreign pid namespace
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

}  // namespace clove
