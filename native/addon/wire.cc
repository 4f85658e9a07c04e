// The wire server's face towards JavaScript: values in, values out, one call of JavaScript per batch. No policy.
#include <napi.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "wire_loop.h"

namespace clove::wire {

namespace {

/// One server and what ties it to its JavaScript environment. Lives until both the server is closed and JavaScript has
/// let go of the handle.
struct Binding {
  napi_env env = nullptr;
  napi_threadsafe_function deliver = nullptr;
  std::unique_ptr<WireLoop> loop;
  std::vector<Response> responses;
  Batch batch;
  bool closed = false;
  bool handleGone = false;
};

void Notify(void* context) {
  // Fails only while the environment is going down, when there is nobody left to tell.
  napi_call_threadsafe_function(static_cast<Binding*>(context)->deliver, nullptr, napi_tsfn_nonblocking);
}

void ReleaseIfDone(Binding* binding) {
  if (binding->closed && binding->handleGone) delete binding;
}

void StopServer(void* data) {
  Binding* binding = static_cast<Binding*>(data);
  if (binding->closed) return;
  binding->loop->Respond(&binding->responses);
  binding->loop->Stop();
  binding->closed = true;
}

void Set(napi_env env, napi_value array, uint32_t index, double value) {
  napi_value number;
  napi_create_double(env, value, &number);
  napi_set_element(env, array, index, number);
}

napi_value Opens(napi_env env, const Batch& batch) {
  napi_value array;
  napi_create_array_with_length(env, batch.opens.size() * 5, &array);
  uint32_t i = 0;
  for (const OpenEvent& open : batch.opens) {
    Set(env, array, i++, open.connection);
    Set(env, array, i++, open.principal);
    Set(env, array, i++, open.peer.pid);
    Set(env, array, i++, open.peer.uid);
    Set(env, array, i++, open.peer.gid);
  }
  return array;
}

napi_value Requests(napi_env env, const Batch& batch) {
  napi_value array, empty, null;
  napi_create_array_with_length(env, batch.requests.size() * 5, &array);
  napi_create_string_latin1(env, "", 0, &empty);
  napi_get_null(env, &null);
  uint32_t i = 0;
  for (const RequestEvent& request : batch.requests) {
    // A batch may hold very many strings; their handles must not all live at once.
    napi_handle_scope scope;
    napi_open_handle_scope(env, &scope);
    Set(env, array, i++, request.connection);
    Set(env, array, i++, static_cast<double>(request.sequence));
    Set(env, array, i++, request.opcode);
    napi_value text;
    const char* bytes = batch.bytes.data() + request.offset;
    if (request.ascii) {
      napi_create_string_latin1(env, bytes, request.size, &text);
    } else {
      napi_create_string_utf8(env, bytes, request.size, &text);
    }
    napi_set_element(env, array, i++, request.refused ? empty : text);
    napi_set_element(env, array, i++, request.refused ? text : null);
    napi_close_handle_scope(env, scope);
  }
  return array;
}

napi_value Closes(napi_env env, const Batch& batch) {
  napi_value array;
  napi_create_array_with_length(env, batch.closes.size(), &array);
  for (uint32_t i = 0; i < batch.closes.size(); ++i) Set(env, array, i, batch.closes[i]);
  return array;
}

/// JavaScript's thread: hands over everything published so far.
void Deliver(napi_env env, napi_value callback, void* context, void*) {
  Binding* binding = static_cast<Binding*>(context);
  if (env == nullptr || callback == nullptr || binding->closed) return;
  Batch& batch = binding->batch;
  binding->loop->TakeBatch(&batch);
  if (batch.Empty()) return;
  napi_value arguments[] = {Opens(env, batch), Requests(env, batch), Closes(env, batch)};
  napi_value receiver;
  napi_get_undefined(env, &receiver);
  const napi_status status = napi_call_function(env, receiver, callback, 3, arguments, nullptr);
  if (!binding->closed) binding->loop->ForgetClosed(batch.closes);
  if (status != napi_pending_exception) return;
  // An exception of a handler is an uncaught one: there is no caller to give it to.
  napi_value error;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

Binding* Of(const Napi::CallbackInfo& info) { return info[0].As<Napi::External<Binding>>().Data(); }

uint32_t U32(const Napi::Value& value) { return value.As<Napi::Number>().Uint32Value(); }

double Number(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().DoubleValue();
}

Limits ReadLimits(const Napi::Object& from) {
  Limits limits;
  limits.outstandingRequests = static_cast<uint32_t>(Number(from, "outstandingRequests"));
  limits.outstandingBytes = static_cast<uint64_t>(Number(from, "outstandingBytes"));
  limits.outputBytes = static_cast<uint64_t>(Number(from, "outputBytes"));
  limits.outputBytesHard = static_cast<uint64_t>(Number(from, "outputBytesHard"));
  limits.handoffRequests = static_cast<uint32_t>(Number(from, "handoffRequests"));
  limits.handoffBytes = static_cast<uint64_t>(Number(from, "handoffBytes"));
  limits.frameSilenceMs = static_cast<uint32_t>(Number(from, "frameSilenceMs"));
  limits.frameTotalMs = static_cast<uint32_t>(Number(from, "frameTotalMs"));
  limits.failedMs = static_cast<uint32_t>(Number(from, "failedMs"));
  limits.lingerMs = static_cast<uint32_t>(Number(from, "lingerMs"));
  return limits;
}

Napi::Value Failure(Napi::Env env, const BindFailure& failure) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("code", Napi::String::New(env, failure.code));
  object.Set("message", Napi::String::New(env, failure.message));
  object.Set("hint", failure.hint == nullptr ? env.Null() : Napi::String::New(env, failure.hint));
  object.Set("errno", Napi::Number::New(env, failure.error));
  return object;
}

/// wireCreate(deliver, limits, rawOpcodes: number[]) → handle, or a failure object.
Napi::Value Create(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  OpcodeSet raw;
  Napi::Array opcodes = info[2].As<Napi::Array>();
  for (uint32_t i = 0; i < opcodes.Length(); ++i) raw.set(U32(opcodes.Get(i)) & 0xFF);
  auto binding = std::make_unique<Binding>();
  binding->env = env;
  binding->loop = std::make_unique<WireLoop>(ReadLimits(info[1].As<Napi::Object>()), raw, Notify, binding.get());
  if (napi_create_threadsafe_function(env, info[0], nullptr, Napi::String::New(env, "clove-wire"), 0, 1, nullptr, nullptr,
                                      binding.get(), Deliver, &binding->deliver) != napi_ok) {
    return Failure(env, {"INTERNAL", "cannot create the way from the wire thread to JavaScript", nullptr, 0});
  }
  const int error = binding->loop->Start();
  if (error != 0) {
    napi_release_threadsafe_function(binding->deliver, napi_tsfn_abort);
    return Failure(env, {"IO", std::string("cannot start the wire thread: ") + strerror(error), nullptr, error});
  }
  // Added after the thread-safe function's own hook, therefore run before it.
  napi_add_env_cleanup_hook(env, StopServer, binding.get());
  return Napi::External<Binding>::New(env, binding.release(), [](Napi::Env, Binding* gone) {
    gone->handleGone = true;
    ReleaseIfDone(gone);
  });
}

/// wireListen(handle, path, options) → listener id, or a failure object.
Napi::Value Listen(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Binding* binding = Of(info);
  Napi::Object from = info[2].As<Napi::Object>();
  ListenOptions options;
  options.principal = U32(from.Get("principal"));
  options.mode = static_cast<mode_t>(Number(from, "mode"));
  options.maxConnections = static_cast<uint32_t>(Number(from, "maxConnections"));
  const Napi::Value uid = from.Get("uid");
  const Napi::Value gid = from.Get("gid");
  options.changeOwner = !uid.IsNull() || !gid.IsNull();
  if (!uid.IsNull()) options.uid = U32(uid);
  if (!gid.IsNull()) options.gid = U32(gid);
  const Napi::Value allowed = from.Get("allowUids");
  options.anyUid = allowed.IsNull();
  if (!options.anyUid) {
    Napi::Array list = allowed.As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); ++i) options.allowUids.push_back(U32(list.Get(i)));
  }
  BindFailure failure;
  const uint32_t id = binding->loop->Listen(info[1].As<Napi::String>().Utf8Value(), options, &failure);
  if (id == 0) return Failure(env, failure);
  return Napi::Number::New(env, id);
}

/// wireRespond(handle, connection, sequence, opcode, payload): keeps the answer for wireFlush().
napi_value Respond(napi_env env, napi_callback_info info) {
  size_t count = 5;
  napi_value arguments[5];
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  void* data = nullptr;
  double connection = 0, sequence = 0;
  uint32_t opcode = 0;
  napi_get_value_external(env, arguments[0], &data);
  napi_get_value_double(env, arguments[1], &connection);
  napi_get_value_double(env, arguments[2], &sequence);
  napi_get_value_uint32(env, arguments[3], &opcode);
  Binding* binding = static_cast<Binding*>(data);
  Response response = {static_cast<uint32_t>(connection), static_cast<uint64_t>(sequence), std::string()};
  std::string& frame = response.frame;
  size_t size = 0;
  napi_valuetype type;
  napi_typeof(env, arguments[4], &type);
  if (type == napi_string) {
    napi_get_value_string_utf8(env, arguments[4], nullptr, 0, &size);
    // N-API writes a terminating zero as well.
    frame.resize(kHeaderBytes + size + 1);
    napi_get_value_string_utf8(env, arguments[4], frame.data() + kHeaderBytes, size + 1, &size);
    frame.pop_back();
  } else {
    void* bytes = nullptr;
    napi_typedarray_type arrayType;
    napi_get_typedarray_info(env, arguments[4], &arrayType, &size, &bytes, nullptr, nullptr);
    frame.resize(kHeaderBytes);
    if (size > 0) frame.append(static_cast<const char*>(bytes), size);
  }
  WriteHeader(reinterpret_cast<uint8_t*>(frame.data()), 0, static_cast<uint8_t>(opcode), size);
  binding->responses.push_back(std::move(response));
  return nullptr;
}

/// wireFlush(handle) → number of answers that no request waited for.
napi_value Flush(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value handle;
  napi_get_cb_info(env, info, &count, &handle, nullptr, nullptr);
  void* data = nullptr;
  napi_get_value_external(env, handle, &data);
  Binding* binding = static_cast<Binding*>(data);
  if (!binding->closed && !binding->responses.empty()) binding->loop->Respond(&binding->responses);
  napi_value strays;
  napi_create_double(env, static_cast<double>(binding->loop->TakeStrayAnswers()), &strays);
  return strays;
}

void CloseListener(const Napi::CallbackInfo& info) { Of(info)->loop->CloseListener(U32(info[1])); }

void CloseConnection(const Napi::CallbackInfo& info) { Of(info)->loop->CloseConnection(U32(info[1])); }

Napi::Value TakeNativeCount(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(Of(info)->loop->TakeNativeCount(U32(info[1]))));
}

Napi::Value ReadCounters(const Napi::CallbackInfo& info) {
  const Counters counters = Of(info)->loop->ReadCounters();
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("connectionsOpen", static_cast<double>(counters.connectionsOpen));
  object.Set("connectionsTotal", static_cast<double>(counters.connectionsTotal));
  object.Set("connectionsRefused", static_cast<double>(counters.connectionsRefused));
  object.Set("framesReceived", static_cast<double>(counters.framesReceived));
  object.Set("framesSent", static_cast<double>(counters.framesSent));
  object.Set("bytesReceived", static_cast<double>(counters.bytesReceived));
  object.Set("bytesSent", static_cast<double>(counters.bytesSent));
  object.Set("protocolErrors", static_cast<double>(counters.protocolErrors));
  object.Set("answeredNatively", static_cast<double>(counters.answeredNatively));
  return object;
}

/// wireClose(handle): ends the thread; JavaScript's event loop is let go.
void Close(const Napi::CallbackInfo& info) {
  Binding* binding = Of(info);
  if (binding->closed) return;
  napi_remove_env_cleanup_hook(binding->env, StopServer, binding);
  StopServer(binding);
  napi_release_threadsafe_function(binding->deliver, napi_tsfn_abort);
}

}  // namespace

}  // namespace clove::wire

void RegisterWire(Napi::Env env, Napi::Object exports) {
  using namespace clove::wire;
  exports.Set("wireCreate", Napi::Function::New(env, Create));
  exports.Set("wireListen", Napi::Function::New(env, Listen));
  exports.Set("wireCloseListener", Napi::Function::New(env, CloseListener));
  exports.Set("wireCloseConnection", Napi::Function::New(env, CloseConnection));
  exports.Set("wireTakeNativeCount", Napi::Function::New(env, TakeNativeCount));
  exports.Set("wireCounters", Napi::Function::New(env, ReadCounters));
  exports.Set("wireClose", Napi::Function::New(env, Close));
  const napi_property_descriptor hot[] = {
      {"wireRespond", nullptr, Respond, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"wireFlush", nullptr, Flush, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  napi_define_properties(env, exports, 2, hot);
}
