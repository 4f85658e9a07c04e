// For tests: starts a program as a container engine would, under a filter equal in effect to Docker's default profile and with
// its default capabilities. Nothing of the machine is changed; no namespace is made.
//   container [--sys-admin] [--all-capabilities] [--only-clone3] [--user UID] PROGRAM ARGUMENT…
// --sys-admin: as with --cap-add SYS_ADMIN --cap-add NET_ADMIN. --only-clone3: the filter hides clone3 and nothing else.
#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#if defined(__x86_64__)
constexpr unsigned kArch = AUDIT_ARCH_X86_64;
#else
constexpr unsigned kArch = AUDIT_ARCH_AARCH64;
#endif

namespace {

// Calls that need CAP_SYS_ADMIN in the profile. clone3 and the namespace flags of clone are treated apart.
const int kOfSysAdmin[] = {__NR_bpf,       __NR_fanotify_init, __NR_fsconfig,    __NR_fsmount,     __NR_fsopen,  __NR_fspick,
                           __NR_mount,     __NR_mount_setattr, __NR_move_mount,  __NR_open_tree,   __NR_perf_event_open,
                           __NR_quotactl,  __NR_quotactl_fd,   __NR_setdomainname, __NR_sethostname, __NR_setns, __NR_syslog,
                           __NR_umount2,   __NR_unshare,       __NR_lookup_dcookie};
// Calls that no capability of the default set opens, or that the profile does not name at all.
const int kNever[] = {__NR_pivot_root,     __NR_acct,          __NR_add_key,        __NR_request_key,    __NR_keyctl,
                      __NR_clock_settime,  __NR_settimeofday,  __NR_delete_module,  __NR_init_module,    __NR_finit_module,
                      __NR_io_uring_setup, __NR_io_uring_enter, __NR_io_uring_register, __NR_kcmp,       __NR_kexec_load,
                      __NR_kexec_file_load, __NR_nfsservctl,   __NR_open_by_handle_at, __NR_pidfd_getfd, __NR_process_madvise,
                      __NR_reboot,         __NR_swapon,        __NR_swapoff,        __NR_userfaultfd,    __NR_vhangup,
                      __NR_mbind,          __NR_set_mempolicy, __NR_get_mempolicy,  __NR_move_pages,     __NR_migrate_pages};
// Docker's: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP.
constexpr unsigned long long kDockerCapabilities = 0x00000000a80425fbULL;
constexpr unsigned long long kAdmin = 1ULL << CAP_SYS_ADMIN | 1ULL << CAP_NET_ADMIN;
constexpr unsigned kNamespaceFlags = 0x7e020000;
constexpr unsigned kRefuse = SECCOMP_RET_ERRNO | EPERM;

std::vector<sock_filter> program;

void Statement(unsigned short code, unsigned k) { program.push_back({code, 0, 0, k}); }
void Jump(unsigned short code, unsigned k, unsigned char yes, unsigned char no) { program.push_back({code, yes, no, k}); }
void Answer(int number, unsigned action) {
  Jump(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1);
  Statement(BPF_RET | BPF_K, action);
}

void MakeFilter(bool sysAdmin, bool onlyClone3) {
  Statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
  Jump(BPF_JMP | BPF_JEQ | BPF_K, kArch, 1, 0);
  Statement(BPF_RET | BPF_K, kRefuse);
  Statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  if (onlyClone3 || !sysAdmin) Answer(__NR_clone3, SECCOMP_RET_ERRNO | ENOSYS);
  if (!onlyClone3) {
    for (int number : kNever) Answer(number, kRefuse);
    if (!sysAdmin) {
      for (int number : kOfSysAdmin) Answer(number, kRefuse);
      Jump(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 0, 3);
      Statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args));
      Jump(BPF_JMP | BPF_JSET | BPF_K, kNamespaceFlags, 0, 1);
      Statement(BPF_RET | BPF_K, kRefuse);
    }
  }
  Statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
}

[[noreturn]] void Die(const char* what) {
  perror(what);
  exit(99);
}

void LimitCapabilities(unsigned long long kept) {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
    if ((kept >> capability & 1) == 0 && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) Die("PR_CAPBSET_DROP");
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int half = 0; half < 2; half++) {
    data[half].effective = data[half].permitted = static_cast<unsigned>(kept >> (32 * half));
    data[half].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, data) != 0) Die("capset");
}

}  // namespace

int main(int, char** argv) {
  bool sysAdmin = false, onlyClone3 = false, allCapabilities = false;
  long user = -1;
  char** rest = argv + 1;
  for (; *rest != nullptr && strncmp(*rest, "--", 2) == 0; rest++) {
    if (strcmp(*rest, "--sys-admin") == 0) sysAdmin = true;
    else if (strcmp(*rest, "--only-clone3") == 0) onlyClone3 = true;
    else if (strcmp(*rest, "--all-capabilities") == 0) allCapabilities = true;
    else if (strcmp(*rest, "--user") == 0 && rest[1] != nullptr) user = atol(*++rest);
    else return 98;
  }
  if (*rest == nullptr) return 98;
  MakeFilter(sysAdmin, onlyClone3);
  sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  // As engines do it: while the right to do so without no_new_privs is still there.
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) Die("seccomp");
  }
  if (geteuid() == 0 && !allCapabilities) LimitCapabilities(kDockerCapabilities | (sysAdmin ? kAdmin : 0));
  if (user >= 0) {
    const auto id = static_cast<unsigned>(user);
    if (setgroups(0, nullptr) != 0 || setresgid(id, id, id) != 0 || setresuid(id, id, id) != 0) Die("user");
  }
  execvp(*rest, rest);
  Die(*rest);
}
