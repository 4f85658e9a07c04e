// From a fork of the template to the agent: descriptors, then everything that clove-init does before it starts a program,
// while PID 1 does the same with itself.
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "birth.h"

namespace clove {
namespace {

/**
 * Every descriptor of the template is replaced by /dev/null: an epoll instance or a pipe that two agents hold would let them meet,
 * and a number that is closed could be given out again while a library still writes to it.
 */
bool TakeDescriptors(int control, int family) {
  if (dup3(control, FD_CONTROL, O_CLOEXEC) < 0 || dup3(family, FD_FAMILY, O_CLOEXEC) < 0) return false;
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return false;
  for (int fd = 0; fd < ZYGOTE_FIRST_FD; fd++)
    if ((fd < 3 || used[fd]) && fd != null && dup3(null, fd, fd < 3 ? 0 : O_CLOEXEC) < 0) return false;
  for (int fd = 3, end = 3; fd < ZYGOTE_FIRST_FD; fd = end + 1) {
    for (end = fd; end < ZYGOTE_FIRST_FD && !used[end] && end != null;) end++;
    if (end > fd && CloseRange(static_cast<unsigned>(fd), static_cast<unsigned>(end - 1), 0) != 0) return false;
  }
  if (null > 2 && !used[null]) close(null);
  return CloseRange(static_cast<unsigned>(FD_FAMILY + 1), ~0u, 0) == 0;
}

void GiveUpRights() {
  LayerOn(L_fds, "those of the template became /dev/null: 0, 1, 2 are the agent's");
  if (!Wanted(L_session)) LayerSet(L_session, STATE_OFF, 0, "left out by request");
  else if (STEP_CALL(S_session, setsid())) LayerOn(L_session, "own session, no controlling terminal");
  umask(022);
  LimitRights();
  PrepareLandlock();
  DropPrivileges();
  ApplyLandlock();
  ApplySeccomp();
}

/** PID 1 knows of the groups, the root and the namespaces; of what each has of its own, both must have it. */
bool MergeReport() {
  static Ready made;
  const ssize_t size = RetryOnEintr([&] { return recv(FD_FAMILY, &made, sizeof made, 0); });
  if (size != sizeof made || made.kind != M_READY) return false;
  const uint64_t own = bit(L_uid) | bit(L_caps) | bit(L_nnp) | bit(L_seccomp) | bit(L_landlock) | bit(L_nofile) | bit(L_fsize) | bit(L_fds) |
                       bit(L_session) | bit(L_pdeath);
  for (int layer = 0; layer < LAYER_COUNT; layer++) {
    const bool isOwn = (own & 1ull << layer) != 0;
    if (!isOwn || (made.layers[layer].state != STATE_ON && ready.layers[layer].state == STATE_ON)) ready.layers[layer] = made.layers[layer];
  }
  ready.onMask = made.onMask;
  memcpy(ready.stampUs, made.stampUs, sizeof ready.stampUs);
  return true;
}

int EnterDirectory(const char* path) {
  const int directory = OpenAt2(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS);
  if (directory < 0) return -1;
  const int result = fchdir(directory);
  close(directory);
  return result;
}

}  // namespace

void BecomeAgent(int control, int family, const sigset_t& mask) {
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  signal(SIGCHLD, SIG_DFL);
  if (!TakeDescriptors(control, family)) _exit(125);
  TakeOrder(FD_FAMILY);
  GiveUpRights();
  if (!MergeReport()) _exit(125);
  Attest();
  // The change of user has taken it away.
  if (Wanted(L_pdeath)) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ready.kind = M_READY;
  if (!Send(&ready, sizeof ready) || !AwaitGate(M_GATE2)) _exit(125);
  Passed passed{S_NONE, 0, getpid()};
  for (const Step step : {S_working_directory, S_exec}) {
    if (!Faulted(step) && (step != S_working_directory || EnterDirectory(At<char>(plan->command.cwd)) == 0)) continue;
    passed = {step, errno, 0};
    break;
  }
  const bool told = SendTo(FD_FAMILY, &passed, sizeof passed, nullptr, 0);
  if (!told || passed.error != 0) _exit(125);
  CloseRange(CLOVE_FIRST_FD, ~0u, 0);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
}

}  // namespace clove
