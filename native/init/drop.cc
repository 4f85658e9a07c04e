// Giving everything up, in the only order that works: limits, bounding set, groups, gid, uid, capabilities, NNP.
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "init.h"

namespace clove {
namespace {

constexpr int kLastCapability = 63;  // PR_CAPBSET_DROP answers EINVAL beyond the kernel's own last one

long Limit(int resource, uint64_t value) {
  rlimit limit{value, value};
  if (prlimit(0, static_cast<__rlimit_resource>(resource), &limit, nullptr) != 0) return -1;
  rlimit back{};
  prlimit(0, static_cast<__rlimit_resource>(resource), nullptr, &back);
  if (back.rlim_max == value) return 0;
  errno = ERANGE;
  return -1;
}

/** Lowers to `value`; keeps a hard limit that is lower already. */
long LimitAtMost(int resource, uint64_t value) {
  rlimit now{};
  prlimit(0, static_cast<__rlimit_resource>(resource), nullptr, &now);
  return Limit(resource, now.rlim_max < value ? now.rlim_max : value);
}

void ApplyRlimits() {
  if (Faulted(S_rlimits)) Check(S_rlimits, -1, "");
  Check(S_rlimits, Limit(RLIMIT_CORE, 0), "RLIMIT_CORE");
  if (Wanted(L_nofile)) {
    if (STEP_CALL(S_rlimit_nofile, Limit(RLIMIT_NOFILE, plan->maxOpenFiles)))
      LayerOn(L_nofile, "RLIMIT_NOFILE=%llu (read back)", static_cast<unsigned long long>(plan->maxOpenFiles));
  } else {
    LayerSet(L_nofile, STATE_OFF, 0, "left out by request");
  }
  if (!Wanted(L_fsize)) LayerSet(L_fsize, STATE_OFF, 0, "left out by request");
  else if (plan->fileSizeBytes == ~0ull) LayerSet(L_fsize, STATE_NA, 0, "no limit asked for");
  else if (STEP_CALL(S_rlimit_fsize, Limit(RLIMIT_FSIZE, plan->fileSizeBytes)))
    LayerOn(L_fsize, "RLIMIT_FSIZE=%llu (read back)", static_cast<unsigned long long>(plan->fileSizeBytes));
  Check(S_rlimits, LimitAtMost(RLIMIT_MEMLOCK, 64 << 10), "RLIMIT_MEMLOCK");
  Check(S_rlimits, LimitAtMost(RLIMIT_MSGQUEUE, 819200), "RLIMIT_MSGQUEUE");
  Check(S_rlimits, LimitAtMost(RLIMIT_STACK, 8 << 20), "RLIMIT_STACK");
  Check(S_rlimits, LimitAtMost(RLIMIT_NICE, 0), "RLIMIT_NICE");
  Check(S_rlimits, LimitAtMost(RLIMIT_RTPRIO, 0), "RLIMIT_RTPRIO");
}

/** Of a user that is the agent's alone; of a shared one it would count the processes of others. */
void LimitProcesses(bool isHeld) {
  if (!Wanted(L_pids) || plan->maxProcesses == ~0ull) return;
  Check(S_rlimits, LimitAtMost(RLIMIT_NPROC, plan->maxProcesses), "RLIMIT_NPROC");
  if (!isHeld || plan->pidsError == 0) return;
  LayerOn(L_pids, "RLIMIT_NPROC=%llu of the agent's own user, for want of a group", static_cast<unsigned long long>(plan->maxProcesses));
  ready.layers[L_pids].state = STATE_DEGRADED;
  ready.layers[L_pids].error = static_cast<int>(plan->pidsError);
}

long DropBounding() {
  for (int capability = 0; capability <= kLastCapability; capability++) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL && capability > 0) break;
    return -1;
  }
  return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

long ClearCapabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  return syscall(SYS_capset, &header, data);
}

void CheckIdentity() {
  uid_t r, e, s;
  gid_t gr, ge, gs;
  getresuid(&r, &e, &s);
  getresgid(&gr, &ge, &gs);
  if (r != plan->uid || e != r || s != r || gr != plan->gid || ge != gr || gs != gr || getgroups(0, nullptr) != 0 || r == 0) {
    errno = EPERM;
    Check(S_attest, -1, "uid or gid read back differ");
  }
  LayerOn(L_uid, "uid %u gid %u, no groups (read back)", r, gr);
}

void CheckCapabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  long bad = syscall(SYS_capget, &header, data);
  for (const auto& half : data) bad |= half.effective | half.permitted | half.inheritable;
  // A process without CAP_SETPCAP cannot empty it; no_new_privs keeps what is in it out of reach.
  const bool isBounded = ready.layers[L_caps].error == 0;
  for (int capability = 0; isBounded && capability <= kLastCapability; capability++) {
    const int present = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (present < 0) break;
    bad |= present;
  }
  if (bad != 0) {
    errno = EPERM;
    Check(S_attest, -1, "capabilities remain");
  }
  if (isBounded) LayerOn(L_caps, "all five sets empty, securebits locked (read back)");
  else LayerSet(L_caps, STATE_DEGRADED, ready.layers[L_caps].error, "all but the bounding set empty (read back); emptying that needs CAP_SETPCAP");
}

}  // namespace

void LimitRights() {
  if (Wanted(L_caps)) {
    STEP_CALL(S_cap_bounding, DropBounding());
    STEP_CALL(S_securebits, prctl(PR_SET_SECUREBITS,
                                  SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                      SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
                                  0, 0, 0));
  } else {
    LayerSet(L_caps, STATE_OFF, 0, "left out by request");
  }
}

void DropPrivileges() {
  ApplyRlimits();
  const bool uid = Wanted(L_uid), caps = Wanted(L_caps);
  if (!caps) {
    // Without this the change of uid would take the capabilities away all the same, and the report would be wrong.
    if (uid) prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
  }
  bool identity = uid;
  if (uid && plan->userns == USERNS_OF_AGENT) {
    // Given before the user namespace was made.
  } else if (uid && plan->userns != 0) {
    // One uid is all an unprivileged kernel can map, and its groups cannot be dropped.
    identity = false;
    if ((plan->require & bit(L_uid)) != 0) {
      errno = EPERM;
      Check(S_uid, -1, "an unprivileged kernel has no second uid to give");
    }
    LayerSet(L_uid, STATE_DEGRADED, EPERM, "on the host the agent has the uid and groups of the kernel");
  } else if (uid) {
    identity = STEP_CALL(S_groups, setgroups(0, nullptr)) && STEP_CALL(S_gid, setresgid(plan->gid, plan->gid, plan->gid)) &&
               STEP_CALL(S_uid, setresuid(plan->uid, plan->uid, plan->uid));
  } else {
    LayerSet(L_uid, STATE_OFF, 0, "left out by request");
  }
  const bool emptied = caps && STEP_CALL(S_capset, ClearCapabilities());
  if (!Wanted(L_nnp)) LayerSet(L_nnp, STATE_OFF, 0, "left out by request");
  else if (STEP_CALL(S_no_new_privs, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
    LayerOn(L_nnp, "no_new_privs=1 (read back)");
  // The change of uid made the process dumpable for its new owner and forgot the death signal.
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (!Wanted(L_pdeath)) LayerSet(L_pdeath, STATE_OFF, 0, "left out by request");
  else if (plan->role == ROLE_FORKED)  // its parent is the template, whose end must not be everybody's
    LayerOn(L_pdeath, "lifeline socket, and PDEATHSIG=SIGKILL of the template's PID 1");
  else if (STEP_CALL(S_pdeath, prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))) LayerOn(L_pdeath, "PDEATHSIG=SIGKILL and lifeline socket");
  if (identity) CheckIdentity();
  if (identity && plan->userns == 0) LimitProcesses(emptied);
  if (emptied) CheckCapabilities();
}

void ApplySeccomp() {
  if (!Wanted(L_seccomp)) return LayerSet(L_seccomp, STATE_OFF, 0, "left out by request");
  sock_fprog program{static_cast<unsigned short>(plan->bpfCount), At<sock_filter>(plan->bpf)};
  if (!STEP_CALL(S_seccomp, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))) return;
  const int mode = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
  if (mode == SECCOMP_MODE_FILTER) LayerOn(L_seccomp, "mode 2, default-deny");
}

void Attest() {
  if (Faulted(S_attest)) Check(S_attest, -1, "");
  while (Faulted(S_timeout)) pause();  // a setup that never ends
  // A required layer that no step turned on is a bug of ours, not a reason to go on.
  for (int layer = 0; layer < LAYER_COUNT; layer++) {
    const uint64_t own = bit(L_uid) | bit(L_caps) | bit(L_nnp) | bit(L_seccomp) | bit(L_landlock) | bit(L_mntns) | bit(L_root_ro) |
                         bit(L_proc_masked) | bit(L_dev_min) | bit(L_sys_hidden) | bit(L_fds) | bit(L_session) | bit(L_pdeath) |
                         bit(L_nofile) | bit(L_disk) | bit(L_inodes);
    const uint64_t mask = 1ull << layer;
    if ((own & plan->require & mask) == 0 || ready.layers[layer].state == STATE_ON) continue;
    errno = ready.layers[layer].error != 0 ? ready.layers[layer].error : EPERM;
    Check(S_attest, -1, "a required layer is not on");
  }
}

}  // namespace clove
