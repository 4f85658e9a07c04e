// Node's way to libclove_zygote, which the template was started with (LD_PRELOAD).
#include <dlfcn.h>
#include <napi.h>
#include <stdlib.h>
#include <unistd.h>

#include "zygote.h"

namespace {

template <typename Function>
Function Find(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

Napi::Value Open(const Napi::CallbackInfo& info) {
  const auto open = Find<decltype(&clove_zygote_open)>("clove_zygote_open");
  if (open == nullptr) {
    Napi::Error::New(info.Env(), "libclove_zygote was not preloaded").ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  return Napi::Number::New(info.Env(), open());
}

Napi::Array Texts(Napi::Env env, const char* const* texts, uint32_t count) {
  const auto array = Napi::Array::New(env, count);
  for (uint32_t i = 0; i < count; i++) array.Set(i, Napi::String::New(env, texts[i]));
  return array;
}

/** serve(): {argv, env, cwd}, in the agent only. */
Napi::Value Serve(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uv_loop_s* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  CloveAgent agent{};
  Find<decltype(&clove_zygote_serve)>("clove_zygote_serve")(&agent);
  // The loop's own descriptors are replaced: epoll, wake-up, signals.
  const auto loopFork = Find<int (*)(uv_loop_s*)>("uv_loop_fork");
  if (loop == nullptr || loopFork == nullptr || loopFork(loop) != 0) _exit(125);
  Find<decltype(&clove_zygote_resume_threads)>("clove_zygote_resume_threads")();
  // OpenSSL tells a fork by the process number, and in its pid namespace an agent may have the template's.
  if (const auto poll = Find<int (*)()>("RAND_poll")) poll();
  const auto value = Napi::Object::New(env);
  value.Set("argv", Texts(env, agent.argv, agent.argc));
  value.Set("env", Texts(env, agent.env, agent.envc));
  value.Set("cwd", Napi::String::New(env, agent.cwd));
  return value;
}

void Settle(const Napi::CallbackInfo&) { Find<decltype(&clove_zygote_settle)>("clove_zygote_settle")(); }

void SetExitStatus(const Napi::CallbackInfo& info) {
  *Find<decltype(&clove_zygote_exit_status)>("clove_zygote_exit_status")() = info[0].ToNumber().Int32Value();
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("open", Napi::Function::New(env, Open, "open"));
  exports.Set("settle", Napi::Function::New(env, Settle, "settle"));
  exports.Set("setExitStatus", Napi::Function::New(env, SetExitStatus, "setExitStatus"));
  exports.Set("serve", Napi::Function::New(env, Serve, "serve"));
  return exports;
}

}  // namespace

NODE_API_MODULE(clove_zygote, Init)
