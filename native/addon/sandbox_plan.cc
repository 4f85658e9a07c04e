// Plans and commands as position-independent blobs.
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "../init/steps.h"
#include "sandbox_clone.h"
#include "sandbox_request.h"
#include "sandbox_seccomp.h"

namespace clove {
namespace {

const char* const kLayers[] = {
#define LAYER(name) #name,
#include "../init/layers.def"
#undef LAYER
};

class Blob {
 public:
  explicit Blob(size_t head) : bytes_(head, '\0') {}
  uint32_t Text(const std::string& text) {
    const auto at = static_cast<uint32_t>(bytes_.size());
    bytes_.append(text.c_str(), text.size() + 1);
    return at;
  }
  uint32_t Raw(const void* data, size_t size) {
    bytes_.resize((bytes_.size() + 7) / 8 * 8);
    const auto at = static_cast<uint32_t>(bytes_.size());
    bytes_.append(static_cast<const char*>(data), size);
    return at;
  }
  uint32_t Table(const std::vector<std::string>& texts) {
    std::vector<uint64_t> offsets;
    for (const std::string& text : texts) offsets.push_back(Text(text));
    offsets.push_back(0);
    return Raw(offsets.data(), offsets.size() * sizeof(uint64_t));
  }
  Command Program(const ProgramRequest& program) {
    Command command{};
    command.argc = static_cast<uint32_t>(program.argv.size());
    command.envc = static_cast<uint32_t>(program.env.size());
    command.argv = Table(program.argv);
    command.env = Table(program.env);
    command.cwd = Text(program.cwd);
    command.searchPath = program.searchPath.empty() ? 0 : Text(program.searchPath);
    return command;
  }
  std::string bytes_;
};

}  // namespace

const char* StepName(Step step) { return step < STEP_COUNT ? kSteps[step].name : "?"; }
const char* StepCall(Step step) { return step < STEP_COUNT ? kSteps[step].call : "?"; }
int StepLayer(Step step) { return step < STEP_COUNT ? kSteps[step].layer : L_NONE; }
const char* LayerName(int layer) { return layer >= 0 && layer < LAYER_COUNT ? kLayers[layer] : ""; }

const char* ErrnoName(int error) {
  const char* name = strerrorname_np(error);
  return name != nullptr ? name : "EIO";
}

uint64_t NowUs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

std::unique_ptr<Event> MakeEvent(Event::Kind kind, uint32_t op) {
  auto event = std::make_unique<Event>();
  event->kind = kind;
  event->op = op;
  return event;
}

std::unique_ptr<Event> MakeError(uint32_t op, const char* code, const std::string& message, int error) {
  auto event = MakeEvent(Event::Failed, op);
  event->code = code;
  event->message = message;
  event->error = error;
  return event;
}

std::string BuildPlan(const LaunchRequest& request, const PlanFacts& facts) {
  Blob blob(sizeof(Plan));
  Plan plan{};
  plan.magic = PLAN_MAGIC;
  plan.disable = request.disable;
  plan.require = request.require;
  plan.uid = request.uid;
  plan.gid = request.gid;
  plan.profile = request.profile;
  plan.role = request.role;
  const bool ofAgent = geteuid() == 0 && (request.disable & bit(L_uid)) == 0 && IsMappedUser(request.uid);
  plan.userns = facts.userNamespaces == 0 ? USERNS_NONE : ofAgent ? USERNS_OF_AGENT : USERNS_OF_KERNEL;
  plan.noPivot = Namespaces().pivot ? 0 : 1;
  plan.prepared = request.ahead && !request.furnished ? 1 : 0;
  plan.furnished = request.furnished ? 1 : 0;
  plan.namespaces = facts.userNamespaces;
  plan.hostUid = geteuid();
  plan.hostGid = getegid();
  plan.hostNetwork = request.hostNetwork ? 1 : 0;
  plan.faultStep = request.faultStep;
  plan.faultErrno = request.faultErrno;
  plan.hostname = blob.Text(request.hostname);
  plan.passwd = blob.Text(request.passwd);
  plan.group = blob.Text(request.group);
  plan.hosts = blob.Text(request.hosts);
  plan.resolv = blob.Text(request.resolv);
  plan.nsswitch = blob.Text(request.nsswitch);
  plan.localtime = request.localtime.empty() ? 0 : blob.Text(request.localtime);
  plan.tmpfsBytes = request.tmpfsBytes;
  plan.tmpfsInodes = request.tmpfsInodes;
  plan.fileSizeBytes = request.fileSizeBytes;
  plan.maxOpenFiles = request.maxOpenFiles;
  // A backstop behind the pids controller, wide enough that the controller is the one that refuses, and counts.
  plan.maxProcesses = request.limits.maxPids < 0 ? ~0ull : static_cast<uint64_t>(request.limits.maxPids) * (facts.pidsError == 0 ? 2 : 1);
  plan.pidsError = static_cast<uint32_t>(facts.pidsError);
  std::vector<PlanMount> mounts;
  const bool onHostPaths = (request.disable & bit(L_mntns)) != 0;  // nothing is mounted; Landlock lets the agent read them
  for (size_t i = 0; i < request.mounts.size(); i++) {
    const MountRequest& mount = request.mounts[i];
    const uint32_t source = facts.userNamespaces != 0 || onHostPaths ? blob.Text(mount.source) : 0;
    mounts.push_back({blob.Text(mount.target), source, static_cast<uint8_t>(mount.readonly), static_cast<uint8_t>(facts.mountIsDirectory[i])});
  }
  plan.mounts = blob.Raw(mounts.data(), mounts.size() * sizeof(PlanMount));
  plan.mountCount = static_cast<uint32_t>(mounts.size());
  plan.attachCount = static_cast<uint32_t>(facts.attachCount);
  plan.netnsGiven = facts.netnsGiven ? 1 : 0;
  // The number of processes of a template's user counts those of its agents too.
  if (request.role == ROLE_TEMPLATE) plan.maxProcesses = ~0ull;
  const auto& filter = SeccompProgram(request.role == ROLE_TEMPLATE       ? SeccompProfile::Template
                                      : request.profile == PROFILE_DEBUG ? SeccompProfile::Debug
                                                                         : SeccompProfile::Normal);
  plan.bpf = blob.Raw(filter.data(), filter.size() * sizeof(sock_filter));
  plan.bpfCount = static_cast<uint32_t>(filter.size());
  plan.command = blob.Program(request.program);
  plan.size = static_cast<uint32_t>(blob.bytes_.size());
  memcpy(blob.bytes_.data(), &plan, sizeof plan);
  return std::move(blob.bytes_);
}

std::string BuildCommand(const ProgramRequest& program) {
  Blob blob(sizeof(Command));
  const Command command = blob.Program(program);
  memcpy(blob.bytes_.data(), &command, sizeof command);
  return std::move(blob.bytes_);
}

Fd MemoryFile(const char* name, const std::string& content) {
  Fd fd(memfd_create(name, MFD_CLOEXEC));
  if (fd.valid() && write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) fd.reset();
  return fd;
}

}  // namespace clove
