// The parent's half of a spawn, up to gate 1: groups, mounts, channels, plan, clone.
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>

#include "../init/sys.h"
#include "responsive.h"
#include "sandbox_clone.h"
#include "sandbox_netns.h"
#include "sandbox_remains.h"
#include "sandbox_service.h"

namespace clove {
namespace {

/** clone3 whose child runs `entry` on its own stack; glibc has no such call. Returns the pid or -errno. */
__attribute__((noinline)) long Clone3(CloneArguments* arguments, void (*entry)(void*), void* argument) {
#if defined(__x86_64__)
  register long result asm("rax") = SYS_clone3;
  register CloneArguments* first asm("rdi") = arguments;
  register size_t second asm("rsi") = sizeof *arguments;
  register void (*function)(void*) asm("r12") = entry;
  register void* value asm("r13") = argument;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r13, %%rdi\n\t"
      "call *%%r12\n\t"
      "hlt\n"
      "1:"
      : "+r"(result)
      : "r"(first), "r"(second), "r"(function), "r"(value)
      : "rcx", "r11", "memory", "cc");
  return result;
#elif defined(__aarch64__)
  register long number asm("x8") = SYS_clone3;
  register long result asm("x0") = reinterpret_cast<long>(arguments);
  register size_t second asm("x1") = sizeof *arguments;
  register void (*function)(void*) asm("x19") = entry;
  register void* value asm("x20") = argument;
  asm volatile(
      "svc #0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x29, xzr\n\t"
      "mov x0, x20\n\t"
      "blr x19\n\t"
      "brk #1\n"
      "1:"
      : "+r"(result)
      : "r"(number), "r"(second), "r"(function), "r"(value)
      : "memory", "cc");
  return result;
#else
#error "clone3 is not written for this architecture"
#endif
}

struct Child {
  std::vector<std::pair<int, int>> moves;  // from our number to the child's
  bool collide;                            // a number we read from is one we write to
  int image;
  volatile int error;
};

/** Runs in the child, in our memory, while our thread sleeps: system calls only. */
__attribute__((no_sanitize("address"))) void ChildEntry(void* argument) {
  Child& child = *static_cast<Child*>(argument);
  int image = child.image;
  if (child.collide) {
    for (auto& move : child.moves) {
      move.first = fcntl(move.first, F_DUPFD_CLOEXEC, 256);
      if (move.first < 0) goto failed;
    }
    image = fcntl(image, F_DUPFD_CLOEXEC, 256);
  }
  for (const auto& move : child.moves)
    if (dup3(move.first, move.second, 0) < 0) goto failed;
  {
    static char name[] = "clove-init";
    static char* const argv[] = {name, nullptr};
    static char* const env[] = {nullptr};
    syscall(SYS_execveat, image, "", argv, env, AT_EMPTY_PATH);
  }
failed:
  child.error = errno;
  for (;;) syscall(SYS_exit, 127);
}

uint64_t NamespaceFlags(const LaunchRequest& request) {
  const struct {
    Layer layer;
    uint64_t flag;
  } rows[] = {{L_mntns, CLONE_NEWNS}, {L_pidns, CLONE_NEWPID}, {L_netns, CLONE_NEWNET}, {L_ipcns, CLONE_NEWIPC}, {L_utsns, CLONE_NEWUTS}};
  uint64_t flags = 0;
  for (const auto& row : rows)
    if ((request.disable & bit(row.layer)) == 0 && !(row.layer == L_netns && request.hostNetwork)) flags |= row.flag;
  return flags;
}

/** A mount that was made for this sandbox: a part of a world's files. */
Failure TakeTree(Sandbox& sandbox, MountRequest& mount) {
  if (sandbox.unprivileged) return {S_open_mounts, EPERM, mount.target + ": the files of a world need a kernel that is root"};
  struct stat info {};
  const uint64_t attributes = kAttrNosuid | kAttrNodev | (mount.readonly ? kAttrReadonly : 0);
  if (fstat(mount.tree.get(), &info) != 0 || MountSetattr(mount.tree.get(), "", kAtEmptyPath | kAtRecursive, attributes, MS_PRIVATE) != 0)
    return {S_open_mounts, errno, mount.target};
  sandbox.mountIsDirectory.push_back(S_ISDIR(info.st_mode));
  sandbox.mountTrees.push_back(std::move(mount.tree));
  return {};
}

}  // namespace

Failure OpenMounts(Sandbox& sandbox) {
  if ((sandbox.request.disable & bit(L_mntns)) != 0) {
    // The agent sees the host's paths; these are the ones that Landlock lets it read besides the system's.
    std::erase_if(sandbox.request.mounts, [](const MountRequest& mount) { return mount.tree.valid(); });
    sandbox.mountIsDirectory.assign(sandbox.request.mounts.size(), true);
    return {};
  }
  for (MountRequest& mount : sandbox.request.mounts) {
    if (sandbox.request.faultStep == S_open_mounts) return {S_open_mounts, sandbox.request.faultErrno, mount.source};
    if (mount.tree.valid()) {
      if (Failure f = TakeTree(sandbox, mount)) return f;
      continue;
    }
    const Fd source(OpenAt2(AT_FDCWD, mount.source.c_str(), O_PATH | O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS));
    if (!source.valid()) return {S_open_mounts, errno, mount.source};
    struct stat info {};
    if (fstat(source.get(), &info) != 0) return {S_open_mounts, errno, mount.source};
    // The trees are taken with what is mounted in them: "/" would bring /proc, /sys and /dev along.
    if (IsWindowIntoKernel(source.get()) || mount.source.find_first_not_of('/') == std::string::npos)
      return {S_open_mounts, EINVAL, mount.source + " is the host's root or a window into its kernel"};
    sandbox.mountIsDirectory.push_back(S_ISDIR(info.st_mode));
    if (sandbox.unprivileged) continue;  // clove-init takes it, by the same rules
    Fd tree(OpenTree(source.get(), "", kOpenTreeClone | kOpenTreeCloexec | kAtEmptyPath | kAtRecursive));
    const uint64_t attributes = kAttrNosuid | kAttrNodev | (mount.readonly ? kAttrReadonly : 0);
    if (!tree.valid() || MountSetattr(tree.get(), "", kAtEmptyPath | kAtRecursive, attributes, MS_PRIVATE) != 0)
      return {S_open_mounts, errno, mount.source};
    sandbox.mountTrees.push_back(std::move(tree));
  }
  if (sandbox.request.faultStep == S_open_mounts) return {S_open_mounts, sandbox.request.faultErrno, "fault injection"};
  return {};
}

Failure OpenControl(Sandbox& sandbox) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return {S_channels, errno, "control"};
  sandbox.control = Fd(pair[0]);
  sandbox.childControl = Fd(pair[1]);
  const int on = 1;
  if (setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) return {S_channels, errno, "SO_PASSCRED"};
  return {};
}

Failure OpenStreams(Sandbox& sandbox) {
  const auto fail = [](const char* what) { return Failure{S_channels, errno, what}; };
  if (sandbox.request.faultStep == S_channels) {
    errno = sandbox.request.faultErrno;
    return fail("fault injection");
  }
  for (int i = 0; i < 3; i++) {
    StdioRequest& stdio = sandbox.request.stdio[i];
    if (stdio.pipe) {
      int ends[2];
      if (pipe2(ends, O_CLOEXEC) != 0) return fail("stdio");
      sandbox.stdioChild[i] = Fd(ends[i == 0 ? 0 : 1]);
      sandbox.stdioOurs[i] = Fd(ends[i == 0 ? 1 : 0]);
      // What is in it can be taken when its writers are gone, without a doubt that they all are.
      if (i > 0) fcntl(ends[0], F_SETFL, O_NONBLOCK);
    } else if (stdio.fd.valid()) {
      sandbox.stdioChild[i] = std::move(stdio.fd);
    } else {
      sandbox.stdioChild[i] = Fd(open("/dev/null", O_RDWR | O_CLOEXEC));
      if (!sandbox.stdioChild[i].valid()) return fail("/dev/null");
    }
  }
  return {};
}

namespace {

Failure CloneInit(Sandbox& sandbox, int initImage) {
  if (sandbox.request.faultStep == S_clone) return {S_clone, sandbox.request.faultErrno, "fault injection"};
  Child child{};
  child.image = initImage;
  for (int i = 0; i < 3; i++) child.moves.push_back({sandbox.stdioChild[i].get(), i});
  child.moves.push_back({sandbox.childControl.get(), FD_CONTROL});
  child.moves.push_back({sandbox.plan.get(), FD_PLAN});
  for (size_t i = 0; i < sandbox.mountTrees.size(); i++) child.moves.push_back({sandbox.mountTrees[i].get(), FD_MOUNTS + static_cast<int>(i)});
  int last = FD_MOUNTS + static_cast<int>(sandbox.request.mounts.size());
  for (const Fd& tasks : sandbox.tasks) child.moves.push_back({tasks.get(), last++});
  if (sandbox.netns.valid()) child.moves.push_back({sandbox.netns.get(), last++});
  child.collide = initImage < last || std::any_of(child.moves.begin(), child.moves.end(), [&](const auto& move) { return move.first < last; });

  static thread_local char* const stack = static_cast<char*>(mmap(nullptr, 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
  int pidfd = -1;
  CloneArguments arguments{};
  arguments.flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | (sandbox.unprivileged ? 0 : NamespaceFlags(sandbox.request));
  if (sandbox.netns.valid()) arguments.flags &= ~static_cast<uint64_t>(CLONE_NEWNET);
  arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  arguments.stack = reinterpret_cast<uint64_t>(stack);
  arguments.stackSize = 64 << 10;
  const bool hasClone3 = HasClone3();
  if (sandbox.cgroup.unified() >= 0 && hasClone3) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<uint64_t>(sandbox.cgroup.unified());
  }
  const long pid = hasClone3 ? Clone3(&arguments, ChildEntry, &child)
                             : CloneWithoutClone3(arguments.flags, stack + arguments.stackSize, &pidfd, ChildEntry, &child);
  if (pid < 0) return {S_clone, static_cast<int>(-pid), "namespaces or placement into the cgroup"};
  sandbox.initPid = static_cast<pid_t>(pid);
  sandbox.initPidfd = Fd(pidfd);
  StayResponsive(sandbox.initPid);
  if (child.error != 0) return {S_clone, child.error, "start of clove-init"};
  return {};
}

}  // namespace

Fd SealedImage(const std::string& path) {
  std::string content;
  if (!ReadFileAt(AT_FDCWD, path.c_str(), content)) return Fd();
  // MFD_EXEC (0x10) is asked for by newer kernels and unknown to older ones.
  Fd image(memfd_create("clove-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | 0x10));
  if (!image.valid() && errno == EINVAL) image = Fd(memfd_create("clove-init", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!image.valid()) return image;
  for (size_t at = 0; at < content.size();) {
    const ssize_t written = write(image.get(), content.data() + at, content.size() - at);
    if (written <= 0) return Fd();
    at += static_cast<size_t>(written);
  }
  // Sealed, so that nobody who reaches the running image (CVE-2019-5736) can change what the next sandbox starts from. For others to
  // execute and not to read: where a template does (native/zygote), nobody but root may look into what runs then, or stop it.
  if (fchmod(image.get(), 0511) != 0 || fcntl(image.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) return Fd();
  return image;
}

Failure ApplyLimits(Sandbox& sandbox) {
  const LaunchRequest& request = sandbox.request;
  const uint64_t later = KillsByUser(request) ? bit(L_kill) : 0;  // known when the user is known to be its own
  return sandbox.cgroup.Apply(request.limits, request.disable, request.require & ~later, request.faultStep, request.faultErrno, sandbox.layers);
}

Failure WritePlan(Sandbox& sandbox) {
  const LaunchRequest& request = sandbox.request;
  if (request.faultStep == S_plan) return {S_plan, request.faultErrno, "fault injection"};
  const LayerResult& pids = sandbox.layers[L_pids];
  const PlanFacts facts{sandbox.mountIsDirectory, pids.state == STATE_ON ? 0 : std::max(pids.error, 1), sandbox.tasks.size(), sandbox.netns.valid(),
                        sandbox.unprivileged ? NamespaceFlags(request) : 0};
  sandbox.plan = MemoryFile("clove-plan", BuildPlan(request, facts));
  if (!sandbox.plan.valid()) return {S_plan, errno, "memfd"};
  return {};
}

Failure Spawn(Sandbox& sandbox, const std::shared_ptr<CgroupParent>& parent, int initImage) {
  const LaunchRequest& request = sandbox.request;
  StageClock stage(sandbox);
  stage("queue");
  // Not root, but namespaces are wanted: a user namespace makes them possible where the host allows it.
  // Root in a container may have to go the same way, and root of a user namespace that has no user to give.
  const bool isUserWanted = (request.disable & bit(L_uid)) == 0;
  const bool ownAreRefused = geteuid() != 0 || Namespaces().way == NamespaceFacts::User || (isUserWanted && !IsMappedUser(request.uid));
  sandbox.unprivileged = ownAreRefused && NamespaceFlags(request) != 0 && request.role != ROLE_FORKED;
  // An agent of a template is there before anything of its own; it is given that by an order, as one in a sandbox made ahead.
  const bool isForked = request.role == ROLE_FORKED;
  if (!isForked) {
    if (Failure f = OpenMounts(sandbox)) return f;
    stage("mounts");
  }
  remains::AwaitName(request.cgroupParent + "/" + request.instance);
  if (Failure f = sandbox.cgroup.Create(parent, request.instance, request.limits, request.ahead, request.faultStep, request.faultErrno)) return f;
  // Processes that share the template's memory come by in the group: one that ended for want of memory would take it along.
  if (!request.ahead && !isForked) {
    if (Failure f = ApplyLimits(sandbox)) return f;
  }
  if (Failure f = sandbox.cgroup.OpenTasks(sandbox.tasks, !HasClone3())) return f;
  stage("cgroups");
  if (Failure f = OpenControl(sandbox)) return f;
  if (!isForked) {
    if (Failure f = OpenStreams(sandbox)) return f;
  }
  if (request.netnsWanted) {
    if (isForked || sandbox.unprivileged || (NamespaceFlags(request) & CLONE_NEWNET) == 0)
      return {S_namespaces, EPERM, "the network of a world needs a kernel that is root, the layer netns, and no template"};
    if (!request.netns.valid()) return {S_namespaces, EBADF, "the network of the world"};
    sandbox.netns = std::move(sandbox.request.netns);
  } else if (!isForked && !sandbox.unprivileged && (NamespaceFlags(request) & CLONE_NEWNET) != 0) {
    // The thread that makes sandboxes ahead has the time to let the clone make one.
    if (!request.ahead) sandbox.netns = spare_netns::Take();
  }
  if (!isForked) {
    if (Failure f = WritePlan(sandbox)) return f;
    stage("plan");
  }
  if (request.faultStep == S_gate1) return {S_gate1, request.faultErrno, "fault injection"};
  Message gate{};  // waits in the socket: nothing is left to do between the clone and gate 1
  gate.kind = M_GATE1;
  if (!isForked && send(sandbox.control.get(), &gate, MESSAGE_HEAD, MSG_NOSIGNAL) < 0) return {S_gate1, errno, ""};
  const Failure cloned = isForked ? AskTemplate(sandbox, NamespaceFlags(request), initImage) : CloneInit(sandbox, initImage);
  for (Fd& fd : sandbox.stdioChild) fd.reset();
  sandbox.childControl.reset();
  sandbox.plan.reset();
  sandbox.mountTrees.clear();
  sandbox.tasks.clear();
  if (request.netnsWanted) sandbox.netns.reset();
  sandbox.networkNamespace = std::move(sandbox.netns);
  if (cloned) return cloned;
  stage("clone");
  return {};
}

}  // namespace clove
