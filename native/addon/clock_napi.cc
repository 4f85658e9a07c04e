// The world clock's face towards JavaScript: values in, values out. Times are milliseconds since the world's start.
#include <napi.h>

#include <cmath>
#include <memory>
#include <string>

#include "clock_coordinator.h"

using namespace clove::clock;

namespace {

/** One coordinator and what ties it to its JavaScript environment. */
struct Binding {
  napi_env env = nullptr;
  napi_threadsafe_function deliver = nullptr;
  std::unique_ptr<Coordinator> coordinator;
};

double ToMs(int64_t ns) { return static_cast<double>(ns) / 1e6; }
/** What lies beyond 64 bits of nanoseconds never comes. */
int64_t ToNs(double ms) { return ms >= 9.2e12 ? kForever : static_cast<int64_t>(std::llround(ms * 1e6)); }

/** JavaScript's thread: 0 = a timer is due, 1 = time has been moved as asked. */
void Deliver(napi_env env, napi_value callback, void*, void* data) {
  if (env == nullptr || callback == nullptr) return;
  napi_value receiver, argument;
  napi_get_undefined(env, &receiver);
  napi_create_uint32(env, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(data)), &argument);
  if (napi_call_function(env, receiver, callback, 1, &argument, nullptr) != napi_pending_exception) return;
  // An exception of a handler is an uncaught one: there is no caller to give it to.
  napi_value error;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

void Notify(void* context, Coordinator::Signal signal) {
  // Fails only while the environment is going down, when there is nobody left to tell.
  napi_call_threadsafe_function(static_cast<Binding*>(context)->deliver, reinterpret_cast<void*>(static_cast<uintptr_t>(signal)),
                                napi_tsfn_nonblocking);
}

void Stop(void* data) { static_cast<Binding*>(data)->coordinator->Stop(); }

Coordinator& Of(const Napi::CallbackInfo& info) { return *info[0].As<Napi::External<Binding>>().Data()->coordinator; }
double Number(Napi::Object object, const char* name) { return object.Get(name).As<Napi::Number>().DoubleValue(); }

/** clockCreate(deliver, options) → handle, or the reason why not as text. */
Napi::Value Create(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto from = info[1].As<Napi::Object>();
  Options options;
  options.folder = from.Get("folder").ToString().Utf8Value();
  options.mode = static_cast<Mode>(static_cast<uint32_t>(Number(from, "mode")));
  options.rateNumerator = static_cast<uint32_t>(Number(from, "rateNumerator"));
  options.rateDenominator = static_cast<uint32_t>(Number(from, "rateDenominator"));
  const double startEpochMs = Number(from, "startEpochMs");
  options.startEpochNs = startEpochMs < 0 ? -1 : ToNs(startEpochMs);
  options.elapsedNs = ToNs(Number(from, "elapsedMs"));
  options.horizonNs = ToNs(Number(from, "horizonMs"));
  options.coalesceNs = ToNs(Number(from, "coalesceMs"));
  options.watchesOwnProcess = from.Get("watchesOwnProcess").ToBoolean().Value();
  options.pollingJumps = static_cast<uint32_t>(Number(from, "pollingJumps"));
  auto binding = std::make_unique<Binding>();
  binding->env = env;
  binding->coordinator = std::make_unique<Coordinator>(std::move(options), Notify, binding.get());
  if (napi_create_threadsafe_function(env, info[0], nullptr, Napi::String::New(env, "clove-clock"), 0, 1, nullptr, nullptr, binding.get(),
                                      Deliver, &binding->deliver) != napi_ok)
    return Napi::String::New(env, "cannot create the way from the clock's thread to JavaScript");
  napi_unref_threadsafe_function(env, binding->deliver);
  const std::string problem = binding->coordinator->Start();
  if (!problem.empty()) {
    napi_release_threadsafe_function(binding->deliver, napi_tsfn_abort);
    return Napi::String::New(env, problem);
  }
  // Added after the thread-safe function's own hook, therefore run before it.
  napi_add_env_cleanup_hook(env, Stop, binding.get());
  return Napi::External<Binding>::New(env, binding.release());
}

/** clockClose(handle): at once; agents go on at real speed. */
void Close(const Napi::CallbackInfo& info) {
  Binding* binding = info[0].As<Napi::External<Binding>>().Data();
  if (binding->deliver == nullptr) return;
  binding->coordinator->Stop();
  napi_remove_env_cleanup_hook(info.Env(), Stop, binding);
  napi_release_threadsafe_function(binding->deliver, napi_tsfn_abort);
  binding->deliver = nullptr;
}

/** clockHold(handle, on): whether the event loop waits for it. */
void Hold(const Napi::CallbackInfo& info) {
  Binding* binding = info[0].As<Napi::External<Binding>>().Data();
  if (binding->deliver == nullptr) return;
  if (info[1].ToBoolean().Value()) napi_ref_threadsafe_function(info.Env(), binding->deliver);
  else napi_unref_threadsafe_function(info.Env(), binding->deliver);
}

Napi::Value Elapsed(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), ToMs(Of(info).Elapsed())); }

/** clockPrepare(slotsPath, connectsOutside, seed) → '' or the reason why not. */
Napi::Value Prepare(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), MakeSlots(info[0].ToString().Utf8Value(), info[1].ToBoolean().Value(),
                                                          static_cast<uint64_t>(info[2].ToNumber().Int64Value())));
}

/** clockAdmit(handle, id, slotsPath, group, ignoredProcesses) → '' or the reason why not. */
Napi::Value Admit(const Napi::CallbackInfo& info) {
  std::vector<int> ignored;
  const auto list = info[4].As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) ignored.push_back(list.Get(i).ToNumber().Int32Value());
  return Napi::String::New(info.Env(), Of(info).Admit(info[1].ToNumber().Uint32Value(), info[2].ToString().Utf8Value(),
                                                      info[3].ToString().Utf8Value(), std::move(ignored)));
}

void Expel(const Napi::CallbackInfo& info) { Of(info).Expel(info[1].ToNumber().Uint32Value()); }
void Lease(const Napi::CallbackInfo& info) { Of(info).Lease(info[1].ToNumber().Int32Value()); }

void Still(const Napi::CallbackInfo& info) { Of(info).Still(info[1].ToNumber().Int32Value()); }
void Skew(const Napi::CallbackInfo& info) { Of(info).Skew(ToNs(info[1].ToNumber().DoubleValue())); }
void SetTimer(const Napi::CallbackInfo& info) { Of(info).SetTimer(ToNs(info[1].ToNumber().DoubleValue()), info[2].ToBoolean().Value()); }
void Advance(const Napi::CallbackInfo& info) { Of(info).AdvanceTo(ToNs(info[1].ToNumber().DoubleValue())); }

Napi::Value ReadStatus(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Status status = Of(info).ReadStatus();
  const auto value = Napi::Object::New(env);
  value.Set("jumps", Napi::Number::New(env, static_cast<double>(status.jumps)));
  value.Set("skippedMs", Napi::Number::New(env, ToMs(status.skippedNs)));
  value.Set("attemptMs", Napi::Number::New(env, ToMs(status.attemptNs)));
  value.Set("threads", Napi::Number::New(env, static_cast<double>(status.threads)));
  value.Set("blocker", status.blocker);
  const auto list = Napi::Array::New(env, status.degradations.size());
  for (uint32_t i = 0; i < status.degradations.size(); i++) {
    const Degradation& known = status.degradations[i];
    const auto entry = Napi::Object::New(env);
    entry.Set("name", known.name);
    entry.Set("detail", known.detail);
    entry.Set("monotonicMs", Napi::Number::New(env, ToMs(known.elapsedNs)));
    entry.Set("active", Napi::Boolean::New(env, known.isActive));
    list.Set(i, entry);
  }
  value.Set("degradations", list);
  const auto programs = Napi::Array::New(env, status.programs.size());
  for (uint32_t i = 0; i < status.programs.size(); i++) {
    const MemberProgram& program = status.programs[i];
    const auto entry = Napi::Object::New(env);
    entry.Set("agent", Napi::Number::New(env, program.agent));
    entry.Set("process", Napi::Number::New(env, program.process));
    entry.Set("tier", Napi::Number::New(env, program.tier));
    entry.Set("name", program.name);
    programs.Set(i, entry);
  }
  value.Set("programs", programs);
  return value;
}

/** clockJumps(handle) → those since the last call, three numbers each: real epoch, time since the start, length. */
Napi::Value TakeJumps(const Napi::CallbackInfo& info) {
  const std::vector<Jump> jumps = Of(info).TakeJumps();
  auto list = Napi::Float64Array::New(info.Env(), jumps.size() * 3);
  for (size_t i = 0; i < jumps.size(); i++) {
    list[i * 3] = ToMs(jumps[i].realEpochNs);
    list[i * 3 + 1] = ToMs(jumps[i].elapsedNs);
    list[i * 3 + 2] = ToMs(jumps[i].skippedNs);
  }
  return list;
}

}  // namespace

void RegisterClock(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, auto function) { exports.Set(name, Napi::Function::New(env, function, name)); };
  add("clockCreate", Create);
  add("clockClose", Close);
  add("clockHold", Hold);
  add("clockElapsed", Elapsed);
  add("clockPrepare", Prepare);
  add("clockAdmit", Admit);
  add("clockExpel", Expel);
  add("clockLease", Lease);
  add("clockStill", Still);
  add("clockSkew", Skew);
  add("clockSetTimer", SetTimer);
  add("clockAdvance", Advance);
  add("clockStatus", ReadStatus);
  add("clockJumps", TakeJumps);
}
