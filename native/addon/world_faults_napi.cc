// The face of a world's broken disk towards JavaScript, which decides what each access meets.
#include <napi.h>

#include <memory>

#include "world_faults.h"

using namespace clove;

namespace {

struct Binding {
  std::unique_ptr<DiskWatch> watch;
  Napi::ThreadSafeFunction ask;
  bool isOpen = false;
};

void Finish(Binding& binding) {
  if (!binding.isOpen) return;
  binding.isOpen = false;
  binding.watch->Stop();
  binding.ask.Abort();
}

void AtEnd(void* data) { Finish(*static_cast<Binding*>(data)); }

Binding& Of(const Napi::CallbackInfo& info) { return *info[0].As<Napi::External<Binding>>().Data(); }

/** watchDisk(folder, ask(fd, thread, isRead, isWrite, path)): a handle, or -errno. */
Napi::Value Watch(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto binding = std::make_unique<Binding>();
  binding->ask = Napi::ThreadSafeFunction::New(env, info[1].As<Napi::Function>(), "clove-disk", 0, 1);
  Binding* const self = binding.get();
  binding->watch = std::make_unique<DiskWatch>([self](DiskAccess access) {
    auto* const kept = new DiskAccess(std::move(access));
    const auto call = [](Napi::Env within, Napi::Function ask, DiskAccess* asked) {
      const std::unique_ptr<DiskAccess> owned(asked);
      if (static_cast<napi_env>(within) == nullptr) return;
      ask.Call({Napi::Number::New(within, asked->fd), Napi::Number::New(within, asked->thread), Napi::Boolean::New(within, asked->isRead),
                Napi::Boolean::New(within, asked->isWrite), Napi::String::New(within, asked->path)});
    };
    if (self->ask.NonBlockingCall(kept, call) == napi_ok) return;
    // Nobody is left to decide: it goes on.
    self->watch->Answer(kept->fd, 0);
    delete kept;
  });
  const int error = binding->watch->Start(info[0].ToNumber().Int32Value());
  if (error != 0) {
    binding->ask.Abort();
    return Napi::Number::New(env, -error);
  }
  binding->ask.Unref(env);
  binding->isOpen = true;
  Binding* const made = binding.release();
  // Added after the thread-safe function's own hook, therefore run before it.
  napi_add_env_cleanup_hook(env, AtEnd, made);
  return Napi::External<Binding>::New(env, made);
}

/** answerDisk(handle, fd, errno): whether the kernel takes this error. */
Napi::Value Answer(const Napi::CallbackInfo& info) {
  Binding& binding = Of(info);
  const bool isTaken = binding.isOpen && binding.watch->Answer(info[1].ToNumber().Int32Value(), info[2].ToNumber().Int32Value());
  return Napi::Boolean::New(info.Env(), isTaken);
}

/** unwatchDisk(handle): at once; whoever waits goes on. */
void Unwatch(const Napi::CallbackInfo& info) {
  Binding& binding = Of(info);
  if (!binding.isOpen) return;
  napi_remove_env_cleanup_hook(info.Env(), AtEnd, &binding);
  Finish(binding);
}

/** setReadonly(folder, on): 0 or -errno. */
Napi::Value Readonly(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), -SetReadonly(info[0].ToNumber().Int32Value(), info[1].ToBoolean().Value()));
}

}  // namespace

void RegisterWorldFaults(Napi::Env env, Napi::Object exports) {
  const auto face = Napi::Object::New(env);
  const auto add = [&](const char* name, auto function) { face.Set(name, Napi::Function::New(env, function, name)); };
  add("watchDisk", Watch);
  add("answerDisk", Answer);
  add("unwatchDisk", Unwatch);
  add("setReadonly", Readonly);
  exports.Set("worldFaults", face);
}
