// Where groups can be made on this host: hierarchies, parent groups, their locks, their removal.
#include "sandbox_cgroup.h"

#include <linux/magic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include <algorithm>

namespace clove {
namespace {

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
      // Mounted at a second place, or covered by itself: one group in it is enough, and two of one name are none.
      bool known = true;
      for (int c = 0; c < CONTROLLER_COUNT; c++) known = known && ((hierarchy.controllers & (1u << c)) == 0 || host.of[c] >= 0);
      if (known) continue;
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

/**
 * A group competes with its siblings as one: with the standard weight, all agents together would get as much as a single
 * process outside, on a machine of any size. With that of one process for every processor, an agent has on its processor
 * what any other process has. Only the standard value is replaced: another one is somebody's decision. Returns what is
 * read back.
 */
std::string RaiseWeight(int group, bool v1) {
  const char* const file = v1 ? "cpu.shares" : "cpu.weight";
  const int64_t standard = v1 ? 1024 : 100, most = v1 ? 262144 : 10000;
  const int64_t wanted = std::min(standard * std::max<int64_t>(sysconf(_SC_NPROCESSORS_ONLN), 1), most);
  if (ReadNumberAt(group, file, -1) == standard && wanted != standard) WriteFileAt(group, file, std::to_string(wanted));
  return std::string(file) + "=" + std::to_string(ReadNumberAt(group, file, -1));
}

/** Makes base/path group by group, locks the last. Returns 0 or errno. */
int OpenChain(const Hierarchy& hierarchy, const std::string& base, const std::string& path, Fd& result, uint32_t& enabled,
              std::string& weight) {
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
    if (((hierarchy.unified ? on : hierarchy.controllers) & (1u << C_CPU)) != 0) {
      const std::string now = RaiseWeight(next.get(), !hierarchy.unified);
      if (weight.empty()) weight = now;  // of the outermost: there the agents meet the rest of the machine
    }
    if (hierarchy.unified) on = EnableControllers(next.get(), on);
    else if ((hierarchy.controllers & (1u << C_CPUSET)) != 0) InheritCpuset(directory.get(), next.get());
    directory = std::move(next);
  }
  // A clean-up that looks whether this group is a dead one's holds the lock for a moment; whoever holds it longer shares the group.
  for (int attempt = 0; attempt < 20 && flock(directory.get(), LOCK_EX | LOCK_NB) != 0; attempt++) SleepMs(5);
  // Had a clean-up removed the group before the lock was ours, its files would be gone.
  if (faccessat(directory.get(), "cgroup.procs", F_OK, 0) != 0) return ENOENT;
  if (hierarchy.unified) enabled = on;
  result = std::move(directory);
  return 0;
}

}  // namespace

void InheritCpuset(int parent, int child) {
  for (const char* name : {"cpuset.cpus", "cpuset.mems"}) {
    std::string now, above;
    if (ReadFileAt(child, name, now) && now.size() > 1) continue;
    if (ReadFileAt(parent, name, above)) WriteFileAt(child, name, above);
  }
}

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
  parent->errors_.resize(host.hierarchies.size());
  for (size_t i = 0; i < host.hierarchies.size(); i++) {
    const Hierarchy& hierarchy = host.hierarchies[i];
    int error = ENOENT, refused = 0;
    // ENOENT in between: another kernel just removed a parent that was empty. Once more makes it anew.
    for (int attempt = 0; attempt < 5 && error == ENOENT; attempt++) {
      for (const std::string& base : {hierarchy.mount, hierarchy.mount + hierarchy.ownPath}) {
        std::string weight;
        error = OpenChain(hierarchy, base, path, parent->directories_[i], parent->enabled_, weight);
        if (error == 0 && !weight.empty()) parent->weight_ = weight;
        parent->absolute_[i] = base.substr(hierarchy.mount.size()) + "/" + path;
        if (error == 0) break;
        if (error != ENOENT) refused = error;  // in a container our own path leads nowhere: that is not why
      }
    }
    if (error != 0 && refused != 0) error = refused;
    parent->errors_[i] = error;
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

}  // namespace clove
