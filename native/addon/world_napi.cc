// The face of worlds towards JavaScript: what may take long runs on a thread of the pool and answers a promise.
#include <napi.h>

#include <functional>

#include "../init/sys.h"
#include "sandbox_request.h"
#include "world_files.h"
#include "world_network.h"

using namespace clove;

namespace {

/** Work beside JavaScript; `finish` makes the value, or a failure was set and the promise rejects with {errno, step}. */
class Job : public Napi::AsyncWorker {
 public:
  using Work = std::function<void(Job&)>;
  using Finish = std::function<Napi::Value(Napi::Env)>;
  static Napi::Value Start(Napi::Env env, Work work) {
    auto* const job = new Job(env, std::move(work));  // deletes itself when it is done
    const Napi::Value promise = job->deferred_.Promise();
    job->Queue();
    return promise;
  }
  void Fail(int error, std::string step) {
    error_ = error == 0 ? EIO : error;
    step_ = std::move(step);
  }
  Finish finish;

 private:
  Job(Napi::Env env, Work work) : Napi::AsyncWorker(env), work_(std::move(work)), deferred_(Napi::Promise::Deferred::New(env)) {}
  void Execute() override { work_(*this); }
  void OnOK() override {
    const Napi::HandleScope scope(Env());
    if (error_ == 0) return deferred_.Resolve(finish ? finish(Env()) : Env().Undefined());
    const auto failure = Napi::Object::New(Env());
    failure.Set("errno", ErrnoName(error_));
    failure.Set("step", step_);
    deferred_.Reject(failure);
  }
  Work work_;
  Napi::Promise::Deferred deferred_;
  int error_ = 0;
  std::string step_;
};

std::string Text(const Napi::Value& value) { return value.ToString().Utf8Value(); }
int Int(const Napi::CallbackInfo& info, size_t index) { return info[index].ToNumber().Int32Value(); }

std::vector<std::string> Texts(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<std::string> texts;
  for (uint32_t i = 0; i < array.Length(); i++) texts.push_back(Text(array.Get(i)));
  return texts;
}

/** makeNetwork(address4, address6, ports): {space, link, any, dnsTcp, dnsUdp, listeners: [port, fd][], reason}; -1 = none. */
Napi::Value MakeNetwork(const Napi::CallbackInfo& info) {
  WorldNetworkRequest request{Text(info[0]), Text(info[1]), {}};
  const auto ports = info[2].As<Napi::Array>();
  for (uint32_t i = 0; i < ports.Length(); i++) request.ports.push_back(static_cast<uint16_t>(ports.Get(i).ToNumber().Uint32Value()));
  return Job::Start(info.Env(), [request](Job& job) {
    auto network = std::make_shared<WorldNetwork>(MakeWorldNetwork(request));
    if (network->error != 0) return job.Fail(network->error, network->step);
    job.finish = [network](Napi::Env env) {
      const auto value = Napi::Object::New(env);
      const auto set = [&](const char* name, Fd& fd) { value.Set(name, Napi::Number::New(env, fd.release())); };
      set("space", network->space);
      set("link", network->link);
      set("any", network->any);
      set("dnsTcp", network->dnsTcp);
      set("dnsUdp", network->dnsUdp);
      const auto listeners = Napi::Array::New(env, network->listeners.size());
      for (uint32_t i = 0; i < network->listeners.size(); i++) {
        const auto pair = Napi::Array::New(env, 2);
        pair.Set(0u, Napi::Number::New(env, network->listeners[i].first));
        pair.Set(1u, Napi::Number::New(env, network->listeners[i].second.release()));
        listeners.Set(i, pair);
      }
      value.Set("listeners", listeners);
      value.Set("reason", network->reason);
      return value;
    };
  });
}

/** connectInside(space, address, port, timeoutMs): a connected descriptor. */
Napi::Value Connect(const Napi::CallbackInfo& info) {
  const int space = fcntl(Int(info, 0), F_DUPFD_CLOEXEC, 3);
  const std::string address = Text(info[1]);
  const auto port = static_cast<uint16_t>(info[2].ToNumber().Uint32Value());
  const int timeoutMs = Int(info, 3);
  return Job::Start(info.Env(), [=](Job& job) {
    const Fd held(space);
    const int connected = ConnectInside(space, address, port, timeoutMs);
    if (connected < 0) return job.Fail(-connected, "connect");
    job.finish = [connected](Napi::Env env) { return Napi::Number::New(env, connected); };
  });
}

/** makeFiles(layers, bytes, inodes): {space, root, upper, store}. */
Napi::Value MakeFiles(const Napi::CallbackInfo& info) {
  const WorldFilesRequest request{Texts(info[0]), static_cast<uint64_t>(info[1].ToNumber().Int64Value()),
                                  static_cast<uint64_t>(info[2].ToNumber().Int64Value())};
  return Job::Start(info.Env(), [request](Job& job) {
    auto files = std::make_shared<WorldFiles>(MakeWorldFiles(request));
    if (files->error != 0) return job.Fail(files->error, files->step);
    job.finish = [files](Napi::Env env) {
      const auto value = Napi::Object::New(env);
      value.Set("space", Napi::Number::New(env, files->space.release()));
      value.Set("root", Napi::Number::New(env, files->root.release()));
      value.Set("upper", Napi::Number::New(env, files->upper.release()));
      value.Set("store", Napi::Number::New(env, files->store.release()));
      return value;
    };
  });
}

/** copyTrees(space, root, paths): one descriptor per path, each to be given to one launch. */
Napi::Value CopyTrees(const Napi::CallbackInfo& info) {
  const int space = fcntl(Int(info, 0), F_DUPFD_CLOEXEC, 3), root = fcntl(Int(info, 1), F_DUPFD_CLOEXEC, 3);
  const std::vector<std::string> paths = Texts(info[2]);
  return Job::Start(info.Env(), [=](Job& job) {
    const Fd heldSpace(space), heldRoot(root);
    int error = 0;
    std::string at;
    auto trees = std::make_shared<std::vector<Fd>>(CopyWorldTrees(space, root, paths, error, at));
    if (error != 0) return job.Fail(error, at);
    job.finish = [trees](Napi::Env env) {
      const auto value = Napi::Array::New(env, trees->size());
      for (uint32_t i = 0; i < trees->size(); i++) value.Set(i, Napi::Number::New(env, (*trees)[i].release()));
      return value;
    };
  });
}

Napi::Value Rows(Napi::Env env, const std::vector<WorldEntry>& entries) {
  const auto value = Napi::Array::New(env, entries.size());
  for (uint32_t i = 0; i < entries.size(); i++) {
    const WorldEntry& entry = entries[i];
    const auto row = Napi::Array::New(env, 11);
    const auto number = [&](uint32_t at, double n) { row.Set(at, Napi::Number::New(env, n)); };
    // Names are bytes: what is no UTF-8 is given as it is, in a buffer.
    row.Set(0u, Napi::Buffer<char>::Copy(env, entry.path.data(), entry.path.size()));
    number(1, entry.mode);
    number(2, entry.uid);
    number(3, entry.gid);
    number(4, static_cast<double>(entry.size));
    row.Set(5u, Napi::BigInt::New(env, entry.modifiedNs));
    row.Set(6u, Napi::Buffer<char>::Copy(env, entry.target.data(), entry.target.size()));
    number(7, (entry.whiteout ? 1 : 0) | (entry.opaque ? 2 : 0));
    number(8, static_cast<double>(entry.inode));
    number(9, static_cast<double>(entry.links));
    row.Set(10u, Napi::BigInt::New(env, entry.changedNs));
    value.Set(i, row);
  }
  return value;
}

/** walk(folder, most): [path, mode, uid, gid, size, modifiedNs, target, flags, inode, links, changedNs][]; flags: 1 whiteout, 2 opaque. */
Napi::Value Walk(const Napi::CallbackInfo& info) {
  const int folder = fcntl(Int(info, 0), F_DUPFD_CLOEXEC, 3);
  const auto most = static_cast<size_t>(info[1].ToNumber().Int64Value());
  return Job::Start(info.Env(), [=](Job& job) {
    const Fd held(folder);
    auto entries = std::make_shared<std::vector<WorldEntry>>();
    if (!WalkTree(folder, most, *entries)) return job.Fail(errno, "walk");
    job.finish = [entries](Napi::Env env) { return Rows(env, *entries); };
  });
}

/** walkNow(folder, most): as walk, at once; -errno on failure. */
Napi::Value WalkNow(const Napi::CallbackInfo& info) {
  std::vector<WorldEntry> entries;
  if (!WalkTree(Int(info, 0), static_cast<size_t>(info[1].ToNumber().Int64Value()), entries)) return Napi::Number::New(info.Env(), -errno);
  return Rows(info.Env(), entries);
}

/** resize(store, bytes, inodes): 0 or -errno. */
Napi::Value Resize(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), -ResizeStore(Int(info, 0), static_cast<uint64_t>(info[1].ToNumber().Int64Value()),
                                                    static_cast<uint64_t>(info[2].ToNumber().Int64Value())));
}

/** openIn(folder, path, flags, mode, follow): a descriptor, or -errno. Links never lead out; without `follow` none is followed. */
Napi::Value OpenIn(const Napi::CallbackInfo& info) {
  auto flags = static_cast<uint64_t>(info[2].ToNumber().Int64Value()) | O_CLOEXEC;
  if ((flags & O_PATH) == 0) flags |= O_NONBLOCK | O_NOCTTY;  // a pipe must not make us wait
  const auto mode = static_cast<uint64_t>(info[3].ToNumber().Int64Value());
  const uint64_t resolve = RESOLVE_NO_MAGICLINKS | (info[4].ToBoolean().Value() ? RESOLVE_IN_ROOT : RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
  const int fd = OpenAt2(Int(info, 0), Text(info[1]).c_str(), flags, mode, resolve);
  return Napi::Number::New(info.Env(), fd < 0 ? -errno : fd);
}

/** Changes of one name in an open folder; each answers 0 or -errno. */
Napi::Value Change(const Napi::CallbackInfo& info) {
  const std::string what = Text(info[0]), name = Text(info[2]);
  const int folder = Int(info, 1);
  long result = -1;
  errno = EINVAL;
  if (name.empty() || name.find('/') != std::string::npos || name == "." || name == "..") {
  } else if (what == "mkdir") {
    result = mkdirat(folder, name.c_str(), info[3].ToNumber().Uint32Value());
  } else if (what == "unlink") {
    result = unlinkat(folder, name.c_str(), 0);
  } else if (what == "rmdir") {
    result = unlinkat(folder, name.c_str(), AT_REMOVEDIR);
  } else if (what == "symlink") {
    result = symlinkat(Text(info[3]).c_str(), folder, name.c_str());
  } else if (what == "rename") {
    result = renameat(folder, name.c_str(), Int(info, 3), Text(info[4]).c_str());
  } else if (what == "chown") {
    result = fchownat(folder, name.c_str(), info[3].ToNumber().Uint32Value(), info[4].ToNumber().Uint32Value(), AT_SYMLINK_NOFOLLOW);
  }
  return Napi::Number::New(info.Env(), result == 0 ? 0 : -errno);
}

/** share(folder): new entries are for all. 0 or -errno. */
Napi::Value Share(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), ShareFolder(Int(info, 0)) ? 0 : -errno); }

}  // namespace

void RegisterWorld(Napi::Env env, Napi::Object exports) {
  const auto face = Napi::Object::New(env);
  const auto add = [&](const char* name, auto function) { face.Set(name, Napi::Function::New(env, function, name)); };
  add("makeNetwork", MakeNetwork);
  add("connectInside", Connect);
  add("makeFiles", MakeFiles);
  add("copyTrees", CopyTrees);
  add("walk", Walk);
  add("walkNow", WalkNow);
  add("resize", Resize);
  add("openIn", OpenIn);
  add("change", Change);
  add("share", Share);
  exports.Set("world", face);
}
