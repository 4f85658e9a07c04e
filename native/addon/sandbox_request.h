// What TypeScript asks for, as plain C++ values; and what it gets back.
#pragma once
#include <stdint.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sandbox_cgroup.h"
#include "sandbox_fd.h"

namespace clove {

struct MountRequest {
  std::string source, target;  // target without the leading slash
  bool readonly = true;
  Fd tree;  // a detached mount to be used up, in place of `source`
};

struct ProgramRequest {
  std::vector<std::string> argv, env;  // env as NAME=value
  std::string cwd, searchPath;
};

/** In place of what an agent that is not known yet will run. */
inline const ProgramRequest kNoProgram{{"-"}, {}, "/", ""};

struct StdioRequest {
  Fd fd;              // duplicate of the caller's; invalid = /dev/null or a pipe
  bool pipe = false;  // make one and return our end
};

struct LaunchRequest {
  std::string instance, hostname, cgroupParent, passwd, group, hosts, resolv, nsswitch, localtime;
  ProgramRequest program;
  uint32_t uid = 0, gid = 0;
  CgroupLimits limits;
  uint64_t fileSizeBytes = ~0ull, maxOpenFiles = 1024, tmpfsBytes = 0, tmpfsInodes = 0;
  std::vector<MountRequest> mounts;
  Fd netns;  // a network namespace to enter
  bool netnsWanted = false;  // else it gets one of its own
  uint8_t profile = PROFILE_DEFAULT;
  bool hostNetwork = false;
  uint64_t require = 0, disable = 0;
  Step faultStep = S_NONE;
  int faultErrno = 0;
  StdioRequest stdio[3];
  PlanRole role = ROLE_PLAIN;
  Fd templateChannel;  // of ROLE_FORKED: where the template takes requests
  uint32_t templateUid = 0, templateGid = 0;
  uint32_t spares = 0;  // agents of that template that may be born ahead
  uint32_t setupTimeoutMs = 5000;
  uint64_t calledAtUs = 0;
  bool ahead = false;  // for an agent that is not known yet: up to where the plan of one is needed
  bool furnished = false;  // for an agent that is known but for what it runs: up to gate 2
};

struct ExecRequest {
  ProgramRequest program;
  bool stdinPipe = false;
  uint64_t timeoutMs = 0;  // 0 = none
};

/** Everything that goes back to JavaScript: fields are set as the kind needs. */
struct Event {
  enum Kind { Launched, Exited, ExecStarted, ExecExited, Opened, Done, Failed } kind = Done;
  uint32_t op = 0;
  // Failed
  std::string code, message, stage, syscall, layer, detail;
  int error = 0;
  // Launched, ExecStarted, Opened
  int pid = 0, initPid = 0, fds[3] = {-1, -1, -1};
  std::string instance;  // the name of its groups
  std::vector<LayerResult> layers;
  std::vector<std::pair<const char*, uint64_t>> setupUs;
  // Exited, ExecExited
  std::string reason;
  int status = 0;
  bool hasStatus = false, timedOut = false;
  CgroupUsage usage;
  uint64_t cpuUserUs = 0, cpuSystemUs = 0, maxRssBytes = 0, wallUs = 0;
};

std::unique_ptr<Event> MakeEvent(Event::Kind kind, uint32_t op);
/** A failed operation on a running sandbox; failed launches name their stage instead of a message. */
std::unique_ptr<Event> MakeError(uint32_t op, const char* code, const std::string& message, int error = 0);

constexpr uint64_t kMs = 1000;  // in µs, the unit of every time here

/** One JavaScript environment: where events go. Outlives the environment; `deliver` is cleared at its end. */
struct Client {
  std::function<void(std::unique_ptr<Event>)> deliver;  // called on the service thread
};

const char* StepName(Step step);
const char* StepCall(Step step);
const char* LayerName(int layer);
int StepLayer(Step step);
const char* ErrnoName(int error);
uint64_t NowUs();

/** What the parent knows that the request does not say. */
struct PlanFacts {
  const std::vector<bool>& mountIsDirectory;
  int pidsError;            // why no group limits processes, 0 = one does
  size_t attachCount;       // v1 groups to join
  bool netnsGiven;          // a network namespace was made ahead
  uint64_t userNamespaces;  // CLONE_NEW* to make below a user namespace, 0 = the parent makes them
};

/** The plan of a spawn as one blob, to be put into a memfd. */
std::string BuildPlan(const LaunchRequest& request, const PlanFacts& facts);
/** The blob of a command run later: a Command followed by what it points to. */
std::string BuildCommand(const ProgramRequest& program);
/** A memfd with this content, position 0. */
Fd MemoryFile(const char* name, const std::string& content);

}  // namespace clove
