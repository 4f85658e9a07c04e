// The face of urgency towards Node: JavaScript's thread joins and leaves, the daemon starts and stops it.
#include <napi.h>

#include "urgent.h"

namespace clove {

namespace {

void Join(const Napi::CallbackInfo&) { JoinUrgency(); }
void Leave(const Napi::CallbackInfo&) { LeaveUrgency(); }
Napi::Value Start(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), StartUrgency()); }
void Stop(const Napi::CallbackInfo&) { StopUrgency(); }

}  // namespace

}  // namespace clove

void RegisterUrgent(Napi::Env env, Napi::Object exports) {
  Napi::Object urgent = Napi::Object::New(env);
  urgent.Set("join", Napi::Function::New(env, clove::Join));
  urgent.Set("leave", Napi::Function::New(env, clove::Leave));
  urgent.Set("start", Napi::Function::New(env, clove::Start));
  urgent.Set("stop", Napi::Function::New(env, clove::Stop));
  exports.Set("urgent", urgent);
}
