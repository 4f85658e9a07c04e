// The face towards JavaScript: parses plain objects, hands events over. No decisions here.
#include <napi.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>

#include "responsive.h"
#include "sandbox_host.h"
#include "sandbox_seccomp.h"
#include "sandbox_service.h"

using namespace clove;

namespace {

/** Events of one environment, from the service thread to its JavaScript thread. */
struct Bridge {
  std::shared_ptr<Client> client = std::make_shared<Client>();
  Napi::ThreadSafeFunction toJavaScript;
  Napi::FunctionReference handler;
};

std::string Text(Napi::Object object, const char* key) { return object.Get(key).ToString().Utf8Value(); }
int64_t Number(Napi::Object object, const char* key) { return object.Get(key).ToNumber().Int64Value(); }
bool Flag(Napi::Object object, const char* key) { return object.Get(key).ToBoolean().Value(); }

std::vector<std::string> Texts(Napi::Object object, const char* key) {
  const auto array = object.Get(key).As<Napi::Array>();
  std::vector<std::string> texts;
  for (uint32_t i = 0; i < array.Length(); i++) texts.push_back(array.Get(i).ToString().Utf8Value());
  return texts;
}

uint64_t LayerBits(Napi::Object object, const char* key) {
  uint64_t bits = 0;
  for (const std::string& name : Texts(object, key))
    for (int layer = 0; layer < LAYER_COUNT; layer++)
      if (name == LayerName(layer)) bits |= 1ull << layer;
  return bits;
}

ProgramRequest Program(Napi::Object object) {
  return {Texts(object, "argv"), Texts(object, "env"), Text(object, "cwd"), Text(object, "searchPath")};
}

std::unique_ptr<LaunchRequest> ParseLaunch(Napi::Object object) {
  auto request = std::make_unique<LaunchRequest>();
  request->calledAtUs = NowUs();
  request->instance = Text(object, "instance");
  request->hostname = Text(object, "hostname");
  request->cgroupParent = Text(object, "cgroupParent");
  request->passwd = Text(object, "passwd");
  request->group = Text(object, "group");
  request->hosts = Text(object, "hosts");
  request->resolv = Text(object, "resolv");
  request->nsswitch = Text(object, "nsswitch");
  request->localtime = Text(object, "localtime");
  request->program = Program(object);
  request->uid = static_cast<uint32_t>(Number(object, "uid"));
  request->gid = static_cast<uint32_t>(Number(object, "gid"));
  request->limits.memoryBytes = Number(object, "memoryBytes");
  request->limits.swapBytes = Number(object, "swapBytes");
  request->limits.cpuQuotaUs = Number(object, "cpuQuotaUs");
  request->limits.cpuPeriodUs = Number(object, "cpuPeriodUs");
  request->limits.cpuShares = Number(object, "cpuShares");
  request->limits.maxPids = Number(object, "maxPids");
  request->limits.cpus = Text(object, "cpus");
  const int64_t fileSize = Number(object, "fileSizeBytes");
  request->fileSizeBytes = fileSize < 0 ? ~0ull : static_cast<uint64_t>(fileSize);
  request->maxOpenFiles = static_cast<uint64_t>(Number(object, "maxOpenFiles"));
  request->tmpfsBytes = static_cast<uint64_t>(Number(object, "tmpfsBytes"));
  request->tmpfsInodes = static_cast<uint64_t>(Number(object, "tmpfsInodes"));
  const auto mounts = object.Get("mounts").As<Napi::Array>();
  for (uint32_t i = 0; i < mounts.Length(); i++) {
    const auto mount = mounts.Get(i).As<Napi::Object>();
    const int tree = static_cast<int>(Number(mount, "tree"));
    request->mounts.push_back({Text(mount, "source"), Text(mount, "target"), Flag(mount, "readonly"), Fd(tree < 0 ? -1 : fcntl(tree, F_DUPFD_CLOEXEC, 3))});
  }
  const int netns = static_cast<int>(Number(object, "netns"));
  request->netnsWanted = netns >= 0;
  if (netns >= 0) request->netns = Fd(fcntl(netns, F_DUPFD_CLOEXEC, 3));
  request->profile = static_cast<uint8_t>(Number(object, "profile"));
  request->hostNetwork = Flag(object, "hostNetwork");
  request->require = LayerBits(object, "require");
  request->disable = LayerBits(object, "disable");
  const std::string fault = Text(object, "faultStep");
  for (int step = 0; step < STEP_COUNT; step++)
    if (fault == StepName(static_cast<Step>(step))) request->faultStep = static_cast<Step>(step);
  request->faultErrno = static_cast<int>(Number(object, "faultErrno"));
  request->setupTimeoutMs = static_cast<uint32_t>(Number(object, "setupTimeoutMs"));
  // -1 = /dev/null, -2 = pipe, else a descriptor of the caller: duplicated now, so that closing it is free.
  const auto stdio = object.Get("stdio").As<Napi::Array>();
  for (uint32_t i = 0; i < 3; i++) {
    const int fd = stdio.Get(i).ToNumber().Int32Value();
    request->stdio[i].pipe = fd == -2;
    if (fd >= 0) request->stdio[i].fd = Fd(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  }
  request->role = static_cast<PlanRole>(Number(object, "role"));
  request->limits.oomGroup = request->role != ROLE_TEMPLATE;
  if (request->role == ROLE_FORKED) request->templateChannel = Fd(fcntl(static_cast<int>(Number(object, "templateChannel")), F_DUPFD_CLOEXEC, 3));
  request->templateUid = static_cast<uint32_t>(Number(object, "templateUid"));
  request->templateGid = static_cast<uint32_t>(Number(object, "templateGid"));
  request->spares = static_cast<uint32_t>(Number(object, "spares"));
  return request;
}

const char* SignalName(int signal) {
  static std::string name;
  const char* abbreviation = sigabbrev_np(signal);
  name = abbreviation != nullptr ? std::string("SIG") + abbreviation : "SIG" + std::to_string(signal);
  return name.c_str();
}

void SetStatus(Napi::Env env, Napi::Object value, const Event& event) {
  const bool exited = event.hasStatus && WIFEXITED(event.status);
  value.Set("exitCode", exited ? Napi::Value(Napi::Number::New(env, WEXITSTATUS(event.status))) : env.Null());
  value.Set("signal", exited ? env.Null() : Napi::Value(Napi::String::New(env, SignalName(event.hasStatus ? WTERMSIG(event.status) : event.status))));
}

std::string LayerLines(const Event& event) {
  const char* const states[] = {"off", "on", "degraded", "n/a"};
  std::string lines;
  for (size_t layer = 0; layer < event.layers.size(); layer++) {
    const LayerResult& result = event.layers[layer];
    lines += std::string(LayerName(static_cast<int>(layer))) + "\t" + states[result.state & 3] + "\t" +
             (result.error == 0 ? "" : ErrnoName(result.error)) + "\t" + std::string(result.how, strnlen(result.how, sizeof result.how)) + "\n";
  }
  return lines;
}

Napi::Value ToValue(Napi::Env env, const Event& event) {
  const auto value = Napi::Object::New(env);
  const auto number = [&](const char* key, uint64_t n) { value.Set(key, Napi::Number::New(env, static_cast<double>(n))); };
  const auto text = [&](const char* key, const std::string& t) { value.Set(key, Napi::String::New(env, t)); };
  const auto fds = [&] {
    const char* const names[] = {"stdinFd", "stdoutFd", "stderrFd"};
    for (int i = 0; i < 3; i++) value.Set(names[i], event.fds[i] < 0 ? env.Null() : Napi::Value(Napi::Number::New(env, event.fds[i])));
  };
  switch (event.kind) {
    case Event::Launched: {
      number("pid", static_cast<uint64_t>(event.pid));
      number("initPid", static_cast<uint64_t>(event.initPid));
      text("instance", event.instance);
      fds();
      text("layers", LayerLines(event));
      const auto stages = Napi::Object::New(env);
      for (const auto& [stage, us] : event.setupUs) stages.Set(stage, Napi::Number::New(env, static_cast<double>(us)));
      value.Set("setupUs", stages);
      break;
    }
    case Event::Exited:
      text("reason", event.reason);
      SetStatus(env, value, event);
      number("cpuUserUs", event.cpuUserUs);
      number("cpuSystemUs", event.cpuSystemUs);
      number("memoryPeakBytes", event.usage.memoryPeakBytes > 0 ? event.usage.memoryPeakBytes : event.maxRssBytes);
      number("oomKills", event.usage.oomKills);
      number("pidsRefused", event.usage.pidsRefused);
      number("cpuThrottledUs", event.usage.throttledUs);
      number("wallUs", event.wallUs);
      break;
    case Event::ExecStarted:
      number("pid", static_cast<uint64_t>(event.pid));
      fds();
      break;
    case Event::ExecExited:
      SetStatus(env, value, event);
      value.Set("timedOut", Napi::Boolean::New(env, event.timedOut));
      number("wallUs", event.wallUs);
      break;
    case Event::Opened:
      return Napi::Number::New(env, event.fds[0]);
    case Event::Done:
      return Napi::String::New(env, event.detail);
    case Event::Failed:
      text("code", event.code);
      text("message", event.message);
      text("stage", event.stage);
      text("syscall", event.syscall);
      text("layer", event.layer);
      text("detail", event.detail);
      text("errno", event.error == 0 ? "" : ErrnoName(event.error));
      break;
  }
  return value;
}

Bridge& BridgeOf(const Napi::CallbackInfo& info) { return *static_cast<Bridge*>(info.Data()); }
Napi::Object Argument(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Object>(); }
uint32_t Id(const Napi::CallbackInfo& info, size_t index) { return info[index].ToNumber().Uint32Value(); }

/** start(initPath, handler(op, failed, value)): once per environment. */
void Start(const Napi::CallbackInfo& info) {
  Bridge& bridge = BridgeOf(info);
  const Napi::Env env = info.Env();
  StayResponsive(0);
  Service::Get().SetInitImage(info[0].ToString().Utf8Value());
  bridge.handler = Napi::Persistent(info[1].As<Napi::Function>());
  bridge.toJavaScript = Napi::ThreadSafeFunction::New(env, bridge.handler.Value(), "clove-sandbox", 0, 1);
  bridge.toJavaScript.Unref(env);
  auto tsfn = bridge.toJavaScript;
  bridge.client->deliver = [tsfn](std::unique_ptr<Event> event) mutable {
    tsfn.NonBlockingCall(event.release(), [](Napi::Env callEnv, Napi::Function handler, Event* delivered) {
      const std::unique_ptr<Event> owned(delivered);
      if (callEnv == nullptr) return;
      const bool failed = owned->kind == Event::Failed;
      handler.Call({Napi::Number::New(callEnv, owned->op), Napi::Boolean::New(callEnv, failed), ToValue(callEnv, *owned)});
    });
  };
}

/** hold(on): whether the event loop waits for us. */
void Hold(const Napi::CallbackInfo& info) {
  if (info[0].ToBoolean().Value()) BridgeOf(info).toJavaScript.Ref(info.Env());
  else BridgeOf(info).toJavaScript.Unref(info.Env());
}

Napi::Value Launch(const Napi::CallbackInfo& info) {
  Bridge& bridge = BridgeOf(info);
  const uint32_t id = Service::Get().Launch(bridge.client, ParseLaunch(Argument(info, 2)), Id(info, 0), Id(info, 1));
  return Napi::Number::New(info.Env(), id);
}

void Kill(const Napi::CallbackInfo& info) { Service::Get().Kill(Id(info, 0), info[1].ToBoolean().Value()); }
void Signal(const Napi::CallbackInfo& info) { Service::Get().Signal(Id(info, 0), info[1].ToNumber().Int32Value()); }

void Freeze(const Napi::CallbackInfo& info) {
  Service::Get().Freeze(Id(info, 0), Id(info, 1), info[2].ToBoolean().Value(), BridgeOf(info).client);
}

void Exec(const Napi::CallbackInfo& info) {
  auto request = std::make_unique<ExecRequest>();
  const Napi::Object object = Argument(info, 3);
  request->program = Program(object);
  request->stdinPipe = Flag(object, "stdinPipe");
  request->timeoutMs = static_cast<uint64_t>(Number(object, "timeoutMs"));
  Service::Get().Exec(Id(info, 0), Id(info, 1), Id(info, 2), std::move(request), BridgeOf(info).client);
}

void ExecKill(const Napi::CallbackInfo& info) { Service::Get().ExecKill(Id(info, 0), Id(info, 1), info[2].ToNumber().Int32Value()); }

void Open(const Napi::CallbackInfo& info) {
  Service::Get().Open(Id(info, 0), Id(info, 1), info[2].ToString().Utf8Value(), info[3].ToNumber().Int32Value(), Id(info, 4),
                      info[5].ToBoolean().Value(), BridgeOf(info).client);
}

/** openGroups(op, cgroupParent) */
void OpenGroups(const Napi::CallbackInfo& info) {
  Service::Get().OpenGroups(info[1].ToString().Utf8Value(), Id(info, 0), BridgeOf(info).client);
}

void Reconcile(const Napi::CallbackInfo& info) {
  Service::Get().Reconcile(info[1].ToString().Utf8Value(), Id(info, 0), BridgeOf(info).client);
}

Napi::Value Stats(const Napi::CallbackInfo& info) {
  CgroupUsage usage;
  std::vector<int> processes;
  const Napi::Env env = info.Env();
  if (!Service::Get().Stats(Id(info, 0), usage, processes)) return env.Null();
  const auto value = Napi::Object::New(env);
  const auto number = [&](const char* key, uint64_t n) { value.Set(key, Napi::Number::New(env, static_cast<double>(n))); };
  const auto limit = [&](const char* key, int64_t n) {
    value.Set(key, n < 0 ? env.Null() : Napi::Value(Napi::Number::New(env, static_cast<double>(n))));
  };
  number("memoryBytes", usage.memoryBytes);
  number("memoryPeakBytes", usage.memoryPeakBytes);
  limit("memoryLimitBytes", usage.memoryLimit);
  number("cpuUsageUs", usage.cpuUsageUs);
  number("cpuUserUs", usage.cpuUserUs);
  number("cpuSystemUs", usage.cpuSystemUs);
  number("cpuThrottledUs", usage.throttledUs);
  number("cpuPeriods", usage.periods);
  number("cpuThrottledPeriods", usage.throttledPeriods);
  number("pids", usage.pids > 0 ? usage.pids : processes.size());
  limit("pidsLimit", usage.pidsLimit);
  number("oomKills", usage.oomKills);
  const auto ids = Napi::Array::New(env, processes.size());
  for (uint32_t i = 0; i < processes.size(); i++) ids.Set(i, Napi::Number::New(env, processes[i]));
  value.Set("processIds", ids);
  return value;
}

/** pool(op, cgroupParent, size): answers when no more than that are left waiting. */
void ResizePool(const Napi::CallbackInfo& info) {
  Service::Get().ResizePool(info[1].ToString().Utf8Value(), Id(info, 2), Id(info, 0), BridgeOf(info).client);
}

/** endSpares(templateUid) */
void EndSpares(const Napi::CallbackInfo& info) { Service::Get().EndSpares(Id(info, 0)); }

/** poolOf(op, cgroupParent): answers with JSON. */
void PoolOf(const Napi::CallbackInfo& info) {
  Service::Get().PoolOf(info[1].ToString().Utf8Value(), Id(info, 0), BridgeOf(info).client);
}

/** furnish(request): the next agent is expected to be like this. */
void Furnish(const Napi::CallbackInfo& info) { Service::Get().Furnish(ParseLaunch(Argument(info, 0))); }

/** unfurnish(cgroupParent, uid): that one does not come. */
void Unfurnish(const Napi::CallbackInfo& info) { Service::Get().Unfurnish(info[0].ToString().Utf8Value(), Id(info, 1)); }

Napi::Value Host(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const HostFacts facts = MeasureHost();
  const auto value = Napi::Object::New(env);
  value.Set("kernelRelease", facts.kernelRelease);
  value.Set("cgroup", facts.cgroup);
  value.Set("cgroupControllers", facts.controllers);
  value.Set("cgroup2Path", facts.unifiedPath);
  value.Set("landlockAbi", Napi::Number::New(env, facts.landlockAbi));
  value.Set("seccomp", Napi::Boolean::New(env, facts.seccomp));
  value.Set("userNamespaces", Napi::Boolean::New(env, facts.userNamespaces));
  value.Set("namespaces", facts.namespaces);
  value.Set("namespacesError", facts.namespacesError);
  value.Set("pivotRoot", Napi::Boolean::New(env, facts.pivotRoot));
  value.Set("clone3", Napi::Boolean::New(env, facts.clone3));
  return value;
}

/** channel(): the two ends through which a template is asked; the caller closes both. */
Napi::Value Channel(const Napi::CallbackInfo& info) {
  int ends[2];
  const auto pair = Napi::Array::New(info.Env(), 2);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return info.Env().Null();
  for (uint32_t i = 0; i < 2; i++) pair.Set(i, Napi::Number::New(info.Env(), ends[i]));
  return pair;
}

Napi::Value Policy(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), SeccompListing(info[0].ToBoolean().Value())); }

Napi::Value Names(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto layers = Napi::Array::New(env), steps = Napi::Array::New(env), value = Napi::Array::New(env);
  for (uint32_t i = 0; i < LAYER_COUNT; i++) layers.Set(i, Napi::String::New(env, LayerName(static_cast<int>(i))));
  for (uint32_t i = 0; i < STEP_COUNT; i++) steps.Set(i, Napi::String::New(env, StepName(static_cast<Step>(i))));
  value.Set(0u, layers);
  value.Set(1u, steps);
  return value;
}

}  // namespace

void RegisterSandbox(Napi::Env env, Napi::Object exports) {
  auto* const bridge = new Bridge();  // freed with the process: late events may still name it
  env.AddCleanupHook([bridge] {
    if (bridge->client->deliver == nullptr) return;
    Service::Get().CloseClient(bridge->client);
    bridge->toJavaScript.Release();
  });
  const auto face = Napi::Object::New(env);
  const auto add = [&](const char* name, auto function) { face.Set(name, Napi::Function::New(env, function, name, bridge)); };
  add("start", Start);
  add("hold", Hold);
  add("launch", Launch);
  add("kill", Kill);
  add("signal", Signal);
  add("freeze", Freeze);
  add("exec", Exec);
  add("execKill", ExecKill);
  add("open", Open);
  add("openGroups", OpenGroups);
  add("reconcile", Reconcile);
  add("stats", Stats);
  add("pool", ResizePool);
  add("poolOf", PoolOf);
  add("endSpares", EndSpares);
  add("furnish", Furnish);
  add("unfurnish", Unfurnish);
  add("host", Host);
  add("policy", Policy);
  add("channel", Channel);
  add("names", Names);
  exports.Set("sandbox", face);
}
