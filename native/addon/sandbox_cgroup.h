// Control groups of both versions behind one face: limits where the controllers are, placement, kill and freeze on v2.
#pragma once
#include <stdint.h>

#include <memory>
#include <string>
#include <vector>

#include "../init/plan.h"
#include "sandbox_fd.h"

namespace clove {

enum Controller : uint8_t { C_MEMORY, C_CPU, C_PIDS, C_CPUSET, C_FREEZER, CONTROLLER_COUNT };
inline constexpr const char* kControllerNames[] = {"memory", "cpu", "pids", "cpuset", "freezer"};

/** One mounted hierarchy. */
struct Hierarchy {
  std::string mount;
  std::string ownPath;  // of this process, relative to the mount
  std::string v1Name;   // controllers as /proc/<pid>/cgroup names them; empty for v2
  bool unified = false;
  uint32_t controllers = 0;  // bits of Controller
};

/** What is mounted here; read once. */
struct CgroupHost {
  std::vector<Hierarchy> hierarchies;
  int of[CONTROLLER_COUNT] = {-1, -1, -1, -1, -1};  // index of the hierarchy with this controller
  int unified = -1;
};
const CgroupHost& HostCgroups();

/** v1 cpuset groups start empty and take no process until their sets are filled. */
void InheritCpuset(int parent, int child);

struct CgroupLimits {
  int64_t memoryBytes = -1, swapBytes = -1, cpuQuotaUs = -1, cpuPeriodUs = 100000, cpuShares = -1, maxPids = -1;
  std::string cpus;
  bool oomGroup = true;  // v2: without memory the whole group ends. Not that of a template, below whose PID 1 agents live
};

/** Where a step stopped. `step` is S_NONE when nothing did. */
struct Failure {
  Step step = S_NONE;
  int error = 0;
  std::string detail;
  explicit operator bool() const { return step != S_NONE; }
};

/** The parent group of one boot in every hierarchy; its lock (flock on the directory) says that the boot is alive. */
class CgroupParent {
 public:
  static std::shared_ptr<CgroupParent> Open(const std::string& path, Failure& failure);
  ~CgroupParent();
  const std::string& path() const { return path_; }
  int directory(int hierarchy) const { return directories_[hierarchy].get(); }
  const std::string& absolute(int hierarchy) const { return absolute_[hierarchy]; }
  /** Why there is no group in this hierarchy, 0 when there is one. */
  int error(int hierarchy) const { return errors_[hierarchy]; }
  uint32_t enabled() const { return enabled_; }
  /** What all agents together weigh against the rest of the machine, for the report of the cpu layer. */
  const std::string& weight() const { return weight_; }

 private:
  std::string path_, weight_;
  std::vector<Fd> directories_;
  std::vector<std::string> absolute_;
  std::vector<int> errors_;
  uint32_t enabled_ = 0;  // v2 controllers switched on for the children
};

struct CgroupUsage {
  uint64_t memoryBytes = 0, memoryPeakBytes = 0, cpuUsageUs = 0, cpuUserUs = 0, cpuSystemUs = 0, throttledUs = 0, periods = 0,
           throttledPeriods = 0, pids = 0, pidsRefused = 0, oomKills = 0;
  int64_t memoryLimit = -1, pidsLimit = -1;
};

/** The groups of one sandbox. */
class Cgroup {
 public:
  /** Makes the groups: those that the limits need, or, of a sandbox made ahead, those that the usual limits may need. */
  Failure Create(std::shared_ptr<CgroupParent> parent, const std::string& name, const CgroupLimits& limits, bool ahead, Step faultStep,
                 int faultErrno);
  /** Writes limits and reads them back; fills the layers mem swap cpu pids cpuset freeze kill. */
  Failure Apply(const CgroupLimits& limits, uint64_t disable, uint64_t require, Step faultStep, int faultErrno, LayerResult* layers);
  /** The layer kill without a group and without a pid namespace: by its user, where it has one of its own. */
  static constexpr const char* kOneByOne = "SIGKILL to the main process, then to its descendants one by one";
  const std::string& name() const { return name_; }
  /** The files through which clove-init puts itself into the v1 groups; into that of v2 too where clone3 cannot place it. */
  Failure OpenTasks(std::vector<Fd>& tasks, bool withUnified) const;
  /** Whether /proc/<pid>/cgroup names our groups in every hierarchy. */
  bool Contains(const std::string& procCgroup, std::string& wrong) const;
  int unified() const { return unified_.get(); }
  int memory() const { return Of(C_MEMORY); }
  bool memoryIsV1() const;
  bool Kill() const;  // false: no v2 group
  /** Takes the CPU quota off a group with many processes that all die: their ends would wait for their turn, period after period. */
  void LiftCpuQuota() const;
  bool SetFrozen(bool frozen) const;
  bool IsFrozen() const;
  bool Populated() const;
  std::vector<int> Processes() const;
  /** `atEnd`: only what is told about a sandbox that is over. */
  CgroupUsage Usage(bool atEnd) const;
  uint64_t OomKills() const;
  /** CPU used so far (µs, user and system); 0 without v2. */
  void CpuTimes(uint64_t& userUs, uint64_t& systemUs) const;
  /** Removes the groups; 0 or the errno of the first that stays (EBUSY: try again). */
  int Remove();

 private:
  int Of(Controller controller) const;
  Failure Limit(Layer layer, Step step, Controller controller, bool asked, uint64_t disable, uint64_t require, Step faultStep,
                int faultErrno, LayerResult* layers, const CgroupLimits& limits);
  std::string WriteLimit(Step step, int directory, bool v1, const CgroupLimits& limits, std::string& problem) const;

  std::shared_ptr<CgroupParent> parent_;
  std::string name_;
  std::vector<Fd> directories_;  // by hierarchy; -1 = not used
  Fd unified_;
};

}  // namespace clove
