// What the C library's allocator keeps of freed memory, and how to make it give that back.
#include <malloc.h>
#include <napi.h>

namespace {

/** In a thread of the pool: it walks through all that is free, and asks the system for each piece. */
class Trim : public Napi::AsyncWorker {
 public:
  explicit Trim(Napi::Env env) : Napi::AsyncWorker(env, "clove-trim"), done_(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise Promise() const { return done_.Promise(); }
  void Execute() override {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
  }
  void OnOK() override { done_.Resolve(Env().Undefined()); }

 private:
  Napi::Promise::Deferred done_;
};

/** memory.kept(): bytes that were freed and are still this process's; 0 = the allocator does not tell. */
Napi::Value Kept(const Napi::CallbackInfo& info) {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
  return Napi::Number::New(info.Env(), static_cast<double>(mallinfo2().fordblks));
#else
  return Napi::Number::New(info.Env(), 0);
#endif
}

/** memory.trim(): a promise. */
Napi::Value StartTrim(const Napi::CallbackInfo& info) {
  auto* const work = new Trim(info.Env());
  const Napi::Promise promise = work->Promise();
  work->Queue();
  return promise;
}

}  // namespace

void RegisterMemory(Napi::Env env, Napi::Object exports) {
  Napi::Object memory = Napi::Object::New(env);
  memory.Set("kept", Napi::Function::New(env, Kept));
  memory.Set("trim", Napi::Function::New(env, StartTrim));
  exports.Set("memory", memory);
}
