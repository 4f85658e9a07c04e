// The addon's table of contents: each part registers its own functions.
#include <napi.h>

void RegisterAudit(Napi::Env env, Napi::Object exports);
void RegisterClock(Napi::Env env, Napi::Object exports);
void RegisterMemory(Napi::Env env, Napi::Object exports);
void RegisterSandbox(Napi::Env env, Napi::Object exports);
void RegisterUrgent(Napi::Env env, Napi::Object exports);
void RegisterWire(Napi::Env env, Napi::Object exports);
void RegisterWorld(Napi::Env env, Napi::Object exports);
void RegisterWorldFaults(Napi::Env env, Napi::Object exports);

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  RegisterAudit(env, exports);
  RegisterClock(env, exports);
  RegisterMemory(env, exports);
  RegisterSandbox(env, exports);
  RegisterUrgent(env, exports);
  RegisterWire(env, exports);
  RegisterWorld(env, exports);
  RegisterWorldFaults(env, exports);
  return exports;
}

NODE_API_MODULE(clove, Init)
