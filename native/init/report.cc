#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "init.h"
#include "steps.h"

namespace clove {

Plan* plan;
Ready ready;

bool Wanted(Layer layer) { return (plan->disable & bit(layer)) == 0; }

void LayerOn(Layer layer, const char* how, ...) {
  LayerResult& result = ready.layers[layer];
  if (result.error != 0) return;  // an earlier step of the same layer failed
  result.state = STATE_ON;
  va_list arguments;
  va_start(arguments, how);
  vsnprintf(result.how, sizeof result.how, how, arguments);
  va_end(arguments);
}

void LayerSet(Layer layer, LayerState state, int error, const char* how) {
  LayerResult& result = ready.layers[layer];
  result.state = state;
  result.error = error;
  snprintf(result.how, sizeof result.how, "%s", how);
}

bool SendTo(int socket, const void* data, size_t size, const int* descriptors, int count) {
  iovec part{const_cast<void*>(data), size};
  alignas(cmsghdr) char control[CMSG_SPACE(MAX_SENT_FDS * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(static_cast<size_t>(count) * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(static_cast<size_t>(count) * sizeof(int));
    memcpy(CMSG_DATA(header), descriptors, static_cast<size_t>(count) * sizeof(int));
  }
  return RetryOnEintr([&] { return sendmsg(socket, &message, MSG_NOSIGNAL); }) >= 0;
}

bool Send(const void* data, size_t size, int descriptor) { return SendTo(FD_CONTROL, data, size, &descriptor, descriptor >= 0 ? 1 : 0); }

void SendSimple(MessageKind kind, uint32_t op, int error, int status, uint64_t wallUs, int descriptor) {
  static Message message;
  message.kind = kind;
  message.op = op;
  message.error = error;
  message.status = status;
  message.step = S_NONE;
  message.wallUs = wallUs;
  Send(&message, MESSAGE_HEAD, descriptor);
}

void Fail(Step step, int error, const char* detail) {
  static Message message;
  message.kind = M_FAILED;
  message.error = error;
  message.step = step;
  snprintf(message.text, sizeof message.text, "%s", detail);
  Send(&message, MESSAGE_HEAD + strlen(message.text) + 1);
  _exit(125);
}

bool Faulted(Step step) {
  if (plan->faultStep != step) return false;
  if (plan->faultErrno == FAULT_DEATH) {
    SendSimple(M_AT_STEP, 0, 0, 0, 0);
    for (;;) pause();
  }
  errno = plan->faultErrno;
  return true;
}

bool Check(Step step, long result, const char* detail) {
  if (result >= 0) return true;
  const int error = errno;
  const Layer layer = static_cast<Layer>(kSteps[step].layer);
  if (layer == L_NONE || (plan->require & bit(layer)) != 0) Fail(step, error, detail);
  char how[sizeof LayerResult::how];
  snprintf(how, sizeof how, "%s failed in step %s", kSteps[step].call, kSteps[step].name);
  if (ready.layers[layer].error == 0) LayerSet(layer, STATE_OFF, error, how);
  return false;
}

}  // namespace clove
