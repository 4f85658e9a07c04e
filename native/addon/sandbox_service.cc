// The loop, and the way of a launch from the request to the running agent.
#include "sandbox_service.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <thread>

#include "../init/sys.h"
#include "responsive.h"
#include "sandbox_netns.h"

namespace clove {
namespace {

constexpr int kMaxErrno = 4095;
/** Messages of one socket before all others have their turn: what is left wakes us again. */
constexpr int kMessagesAtOnce = 32;

/** What clove-init and the agent do themselves and can always do: required of an agent of a template, its report must not be without. */
constexpr uint64_t kOwnLayers = bit(L_uid) | bit(L_userns) | bit(L_pidns) | bit(L_mntns) | bit(L_netns) | bit(L_ipcns) | bit(L_utsns) | bit(L_cgroupns) |
                                bit(L_root_ro) | bit(L_proc_masked) | bit(L_dev_min) | bit(L_sys_hidden) | bit(L_caps) | bit(L_nnp) | bit(L_seccomp) |
                                bit(L_landlock) | bit(L_fds) | bit(L_session) | bit(L_pdeath);

/** Takes the rows of a report over; that of a template's agent comes from the template's memory. False: they are none. */
bool TakeReport(const Ready& ready, LayerResult (&layers)[LAYER_COUNT]) {
  for (int layer = 0; layer < LAYER_COUNT; layer++) {
    const LayerResult& row = ready.layers[layer];
    if (row.state > STATE_NA || row.error < 0 || row.error > kMaxErrno) return false;
    if (row.how[0] == 0) continue;
    layers[layer] = row;
    layers[layer].how[sizeof row.how - 1] = 0;
  }
  return true;
}

bool TakesDescriptor(uint32_t kind) { return kind == M_STAGE2 || kind == M_EXEC_STARTED || kind == M_OPENED; }

/** The process is the image that the kernel has given out, and no program of its template. Only who may look into it can tell. */
bool Runs(pid_t pid, int pidfd, int image) {
  struct stat theirs {}, ours {};
  if (stat(("/proc/" + std::to_string(pid) + "/exe").c_str(), &theirs) != 0 || fstat(image, &ours) != 0) return false;
  // Looked at afterwards: it lived, so the number was its own.
  return theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino && !HasEnded(pidfd);
}

}  // namespace

Service& Service::Get() {
  static Service* const service = new Service();  // never destroyed: its thread has no end of its own
  return *service;
}

Service::Service() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  Watch(wake_, EPOLLIN, Command, 0);
  std::thread([this] {
    pthread_setname_np(pthread_self(), "clove-spawn");
    StayResponsive(0);
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    Loop();
  }).detach();
}

void Service::Watch(int fd, uint32_t events, Source source, uint32_t id) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = (static_cast<uint64_t>(id) << 8) | source;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
}

void Service::Post(std::function<void()> task) {
  {
    const std::lock_guard lock(taskMutex_);
    tasks_.push_back(std::move(task));
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof one);
}

void Service::After(uint64_t delayUs, std::function<void()> task) { timers_.emplace(NowUs() + delayUs, std::move(task)); }

std::shared_ptr<Sandbox> Service::Find(uint32_t id) {
  const std::lock_guard lock(tableMutex_);
  const auto found = table_.find(id);
  return found == table_.end() ? nullptr : found->second;
}

void Service::Loop() {
  epoll_event events[64];
  for (;;) {
    int timeoutMs = -1;
    if (!timers_.empty()) {
      const uint64_t now = NowUs(), due = timers_.begin()->first;
      timeoutMs = due <= now ? 0 : static_cast<int>((due - now + kMs - 1) / kMs);
    }
    const int count = epoll_wait(epoll_, events, 64, timeoutMs);
    for (int i = 0; i < count; i++) {
      const auto source = static_cast<Source>(events[i].data.u64 & 0xff);
      const auto id = static_cast<uint32_t>(events[i].data.u64 >> 8);
      if (source == Command) {
        uint64_t ignored;
        while (read(wake_, &ignored, sizeof ignored) > 0) continue;
        continue;
      }
      const std::shared_ptr<Sandbox> sandbox = Find(id);
      if (sandbox == nullptr) continue;
      if (source == Control) ReadControl(*sandbox);
      else if (source == Init) HandleInitExit(*sandbox);
      else if (source == Oom) CheckOom(*sandbox, 0);
    }
    for (;;) {
      std::function<void()> task;
      {
        const std::lock_guard lock(taskMutex_);
        if (tasks_.empty()) break;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
    while (!timers_.empty() && timers_.begin()->first <= NowUs()) {
      const auto task = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      task();
    }
  }
}

void Service::SetInitImage(const std::string& path) {
  Post([this, path] {
    if (!initImage_.valid()) initImage_ = SealedImage(path);
  });
}

void Service::Deliver(const std::shared_ptr<Client>& client, std::unique_ptr<Event> event) {
  if (client->deliver) client->deliver(std::move(event));
}

std::shared_ptr<CgroupParent> Service::Parent(const std::string& path, Failure& failure) {
  std::shared_ptr<CgroupParent>& parent = parents_[path];
  if (parent == nullptr) parent = CgroupParent::Open(path, failure);
  return parent;
}

// ---------------------------------------------------------------------------------------------------------------- launch

uint32_t Service::Launch(std::shared_ptr<Client> client, std::unique_ptr<LaunchRequest> request, uint32_t launchOp, uint32_t exitOp) {
  auto sandbox = std::make_shared<Sandbox>();
  sandbox->id = nextId_++;
  sandbox->client = std::move(client);
  sandbox->request = std::move(*request);
  sandbox->launchOp = launchOp;
  sandbox->exitOp = exitOp;
  Enter(sandbox);
  Post([this, sandbox] { Start(sandbox); });
  return sandbox->id;
}

void Service::Start(const std::shared_ptr<Sandbox>& sandbox) {
  if (!sandbox->request.ahead) setups_++;
  NoteBusy(sandbox->request.cgroupParent);
  if (TakeFurnished(*sandbox) || TakeFromPool(*sandbox) || TakeSpare(*sandbox)) return;
  Failure failure;
  {
    const std::lock_guard lock(sandbox->mutex);
    // A hierarchy without a parent group only matters to limits that need it, and those say so themselves.
    Failure parentFailure;
    const auto parent = Parent(sandbox->request.cgroupParent, parentFailure);
    if (!initImage_.valid()) failure = {S_clone, ENOENT, "clove-init is not loaded"};
    else failure = Spawn(*sandbox, parent, initImage_.get());
  }
  Spawned(*sandbox, std::move(failure));
}

void Service::Spawned(Sandbox& sandbox, Failure failure) {
  if (sandbox.initPid > 0) Watch(sandbox.initPidfd.get(), EPOLLIN, Init, sandbox.id);
  if (failure) return Refuse(sandbox, std::move(failure));
  Watch(sandbox.control.get(), EPOLLIN, Control, sandbox.id);
  AwaitReady(sandbox);
}

/** The sandbox is at work on itself. */
void Service::AwaitReady(Sandbox& sandbox) {
  sandbox.runningSinceUs = NowUs();
  // Now, while clove-init is busy and nobody waits for us.
  if (!WatchOom(sandbox)) return Refuse(sandbox, {S_cgroup_memory, errno, "notice of the end of memory"});
  const uint64_t spent = NowUs() - sandbox.request.calledAtUs, allowed = sandbox.request.setupTimeoutMs * kMs;
  sandbox.setupDeadlineUs = sandbox.request.calledAtUs + allowed;
  After(allowed - std::min(allowed, spent), [this, id = sandbox.id] {
    const auto waiting = Find(id);
    if (waiting != nullptr && waiting->phase == Sandbox::Setup && !waiting->waitsForAgent && waiting->setupDeadlineUs <= NowUs())
      Refuse(*waiting, {S_timeout, ETIMEDOUT, "setup took too long"});
  });
}

/** Ends a setup. The answer follows when nothing of it is left. */
void Service::Refuse(Sandbox& sandbox, Failure failure) {
  if (failure.error == FAULT_DEATH && sandbox.request.faultErrno == FAULT_DEATH) kill(getpid(), SIGKILL);
  if (!sandbox.failure) sandbox.failure = std::move(failure);
  if (sandbox.building) return;  // whoever builds it hands it over
  if (sandbox.initPid > 0) {
    KillTree(sandbox);
    PidfdSendSignal(sandbox.initPidfd.get(), SIGKILL);
    return;  // its pidfd wakes us
  }
  if (sandbox.removeAttempts == 0) Finish(sandbox.id);  // else it is at it
}

/** User namespace mode: PID 1 is a second child; the first has done its part. */
void Service::HandleStage2(Sandbox& sandbox, pid_t pid) {
  if (sandbox.phase != Sandbox::Setup || !sandbox.unprivileged || pid == sandbox.initPid) return;
  Fd pidfd(PidfdOpen(pid));  // our child and not reaped: the number is its own
  if (!pidfd.valid()) return Refuse(sandbox, {S_namespaces, errno, "pidfd of PID 1"});
  epoll_ctl(epoll_, EPOLL_CTL_DEL, sandbox.initPidfd.get(), nullptr);
  PidfdSendSignal(sandbox.initPidfd.get(), SIGKILL);
  siginfo_t info{};
  syscall(SYS_waitid, 3, sandbox.initPidfd.get(), &info, WEXITED | __WALL, nullptr);
  sandbox.initPid = pid;
  sandbox.initPidfd = std::move(pidfd);
  Watch(sandbox.initPidfd.get(), EPOLLIN, Init, sandbox.id);
}

/** PID 1 of an agent of a template: nobody's clone of ours, so it brings a descriptor of itself. */
void Service::HandleBirth(Sandbox& sandbox, pid_t pid, Fd pidfd) {
  if (sandbox.phase != Sandbox::Setup || sandbox.initPid != 0) return;
  std::string info;
  if (pidfd.valid()) ReadFileAt(AT_FDCWD, ("/proc/self/fdinfo/" + std::to_string(pidfd.get())).c_str(), info);
  if (info.find("\nPid:\t" + std::to_string(pid) + "\n") == std::string::npos) {
    pidfd.reset();
    return Refuse(sandbox, {S_clone, EBADF, "not its own pidfd"});
  }
  sandbox.initPid = pid;
  sandbox.initPidfd = std::move(pidfd);
  Watch(sandbox.initPidfd.get(), EPOLLIN, Init, sandbox.id);
  if (sandbox.failure) return Refuse(sandbox, {});
  // Rights over what is made for the agent are given to nobody else.
  if (!Runs(pid, sandbox.initPidfd.get(), initImage_.get())) return Refuse(sandbox, {S_clone, EPERM, "not clove-init"});
  if (Failure failure = TakeOrderSocket(sandbox, templateFilters_[sandbox.request.templateUid])) return Refuse(sandbox, std::move(failure));
  CloseGroup(sandbox);
  if (sandbox.request.ahead) return SpareBorn(sandbox);
  StageClock stage(sandbox, sandbox.runningSinceUs);
  stage("fork");
  Failure failure;
  {
    const std::lock_guard lock(sandbox.mutex);
    failure = Order(sandbox, stage);
  }
  sandbox.runningSinceUs = NowUs();
  // Its memory is limited from here on.
  if (!failure && !WatchOom(sandbox)) failure = {S_cgroup_memory, errno, "notice of the end of memory"};
  if (failure) Refuse(sandbox, std::move(failure));
}

void Service::HandleReady(Sandbox& sandbox, const Ready& ready, pid_t agent) {
  if (sandbox.phase != Sandbox::Setup || sandbox.agentPid != 0) return;
  // Before there is a PID 1, or an order for it, nobody can be ready.
  if (sandbox.initPid == 0 || (sandbox.request.ahead && !sandbox.furnished)) return Refuse(sandbox, {S_verify, EPROTO, "ready before it was made"});
  const uint64_t readyUs = NowUs();
  static const char* const stages[STAMP_COUNT] = {"init.groups", "init.root", "init.files", "init.rights", "init.filters"};
  uint64_t last = sandbox.runningSinceUs;
  for (int stamp = 0; stamp < STAMP_COUNT; stamp++) {
    const uint64_t at = std::clamp(ready.stampUs[stamp], last, readyUs);
    if (ready.stampUs[stamp] >= sandbox.runningSinceUs) sandbox.setupUs.push_back({stages[stamp], at - last});
    last = at;
  }
  sandbox.setupUs.push_back({"init.fork", readyUs - last});
  if (!sandbox.furnished) {
    for (Fd& fd : sandbox.stdioChild) fd.reset();
  }
  if (!TakeReport(ready, sandbox.layers)) return Refuse(sandbox, {S_verify, EBADMSG, "the report of the layers"});
  if (sandbox.request.role == ROLE_FORKED) {
    for (int layer = 0; layer < LAYER_COUNT; layer++) {
      const LayerResult& row = sandbox.layers[layer];
      if ((sandbox.request.require & kOwnLayers & 1ull << layer) != 0 && row.state != STATE_ON && row.state != STATE_DEGRADED)
        return Refuse(sandbox, {S_verify, EPERM, std::string("required and not on: ") + LayerName(layer)});
    }
  }
  if (LayerResult& kill = sandbox.layers[L_kill]; kill.state == STATE_DEGRADED && KillsByUser(sandbox.request)) {
    sandbox.byUser = sandbox.layers[L_uid].state == STATE_ON;
    if (sandbox.byUser) {
      kill.state = STATE_ON;
      snprintf(kill.how, sizeof kill.how, "SIGKILL to every process of uid %u at once", sandbox.request.uid);
    } else if ((sandbox.request.require & bit(L_kill)) != 0) {
      return Refuse(sandbox, {S_uid, ENOENT, kill.how});
    }
  }
  sandbox.agentPid = agent;
  // The agent waits at gate 2 and its parent waits for it: the number cannot have been given to anybody else.
  sandbox.agentPidfd = Fd(PidfdOpen(agent));
  if (!sandbox.agentPidfd.valid()) return Refuse(sandbox, {S_verify, errno, "pidfd of the agent"});
  const uint64_t before = NowUs();
  const std::string namespaces = "/proc/" + std::to_string(agent) + "/ns/";
  sandbox.mountNamespace = Fd(open((namespaces + "mnt").c_str(), O_RDONLY | O_CLOEXEC));
  if (!sandbox.networkNamespace.valid() && !sandbox.request.netnsWanted)
    sandbox.networkNamespace = Fd(open((namespaces + "net").c_str(), O_RDONLY | O_CLOEXEC));
  if (Failure failure = Verify(sandbox)) return Refuse(sandbox, std::move(failure));
  if (sandbox.request.role == ROLE_TEMPLATE) templateFilters_[sandbox.request.uid] = sandbox.templateFilters;
  sandbox.cgroup.CpuTimes(sandbox.baseUserUs, sandbox.baseSystemUs);
  sandbox.runningSinceUs = NowUs();
  sandbox.setupUs.push_back({"verify", sandbox.runningSinceUs - before});
  if (sandbox.request.faultStep == S_gate2) return Refuse(sandbox, {S_gate2, sandbox.request.faultErrno, "fault injection"});
  if (sandbox.poolOf.empty()) OpenGate2(sandbox);
  else sandbox.waitsForAgent = true;
}

/** Everything is as it should be: the agent runs. */
void Service::OpenGate2(Sandbox& sandbox) {
  std::vector<int> descriptors;
  Fd program;
  if (sandbox.furnished) {
    program = MemoryFile("clove-program", BuildCommand(sandbox.request.program));
    descriptors.push_back(program.get());
    for (const Fd& fd : sandbox.stdioChild) descriptors.push_back(fd.get());
  }
  Message gate{};
  gate.kind = M_GATE2;
  sandbox.runningSinceUs = NowUs();
  const bool isSent = SendTo(sandbox, gate, descriptors.data(), static_cast<int>(descriptors.size()));
  sandbox.isGateOpen = isSent;
  // A broken pipe: it has just died, and its pidfd will say so.
  if (!isSent && !(sandbox.furnished && (errno == EPIPE || errno == ECONNRESET))) return Refuse(sandbox, {S_gate2, errno, ""});
}

// --------------------------------------------------------------------------------------------------------------- control

bool Service::SendTo(Sandbox& sandbox, Message& message, const int* fds, int fdCount) {
  return SendOver(message.kind == M_GATE2 && sandbox.agentControl.valid() ? sandbox.agentControl : sandbox.control, message, fds, fdCount);
}

bool Service::SendOver(const Fd& socket, Message& message, const int* fds, int fdCount) {
  iovec part{&message, MESSAGE_HEAD + (message.text[0] != 0 ? strlen(message.text) + 1 : 0)};
  alignas(cmsghdr) char control[CMSG_SPACE((5 + MAX_MOUNTS) * sizeof(int))];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (fdCount > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(static_cast<size_t>(fdCount) * sizeof(int));
    cmsghdr* entry = CMSG_FIRSTHDR(&header);
    entry->cmsg_level = SOL_SOCKET;
    entry->cmsg_type = SCM_RIGHTS;
    entry->cmsg_len = CMSG_LEN(static_cast<size_t>(fdCount) * sizeof(int));
    memcpy(CMSG_DATA(entry), fds, static_cast<size_t>(fdCount) * sizeof(int));
  }
  // Never wait for a sandbox: one that does not read (frozen) gets EAGAIN.
  return sendmsg(socket.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

void Service::ReadControl(Sandbox& sandbox) {
  ReadFrom(sandbox, sandbox.control, kMessagesAtOnce);
  ReadFrom(sandbox, sandbox.agentControl, kMessagesAtOnce);
}

void Service::ReadFrom(Sandbox& sandbox, Fd& socket, int most) {
  static union {
    Message message;
    Ready ready;
    char bytes[sizeof(Message) + sizeof(Ready)];
  } buffer;
  for (int count = 0; count < most; count++) {
    if (!socket.valid()) return;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int))];
    iovec part{&buffer, sizeof buffer - 1};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t size = recvmsg(socket.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return;
    Fd descriptor;
    pid_t sender = 0;
    for (cmsghdr* entry = CMSG_FIRSTHDR(&header); entry != nullptr; entry = CMSG_NXTHDR(&header, entry)) {
      if (entry->cmsg_level != SOL_SOCKET) continue;
      if (entry->cmsg_type == SCM_CREDENTIALS) sender = reinterpret_cast<ucred*>(CMSG_DATA(entry))->pid;
      if (entry->cmsg_type != SCM_RIGHTS) continue;
      // The space for one is aligned, so that two may come; each is ours to close.
      for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= entry->cmsg_len; at += sizeof(int)) {
        int number;
        memcpy(&number, CMSG_DATA(entry) + at, sizeof number);
        Fd received(number);
        if (!descriptor.valid()) descriptor = std::move(received);
      }
    }
    if (size == 0) {  // PID 1 is gone or going; its pidfd tells
      descriptor.reset();
      epoll_ctl(epoll_, EPOLL_CTL_DEL, socket.get(), nullptr);
      if (sandbox.request.role == ROLE_FORKED && sandbox.initPid == 0) Refuse(sandbox, {S_clone, ECHILD, "the template has ended"});
      return;
    }
    buffer.bytes[size] = 0;
    if (size < static_cast<ssize_t>(MESSAGE_HEAD)) buffer.message.kind = 0;
    // Closed before anybody hears of the end that this may be.
    if (&socket == &sandbox.agentControl || !TakesDescriptor(buffer.message.kind)) descriptor.reset();
    if (size == sizeof(Ready) && buffer.ready.kind == M_READY) HandleReady(sandbox, buffer.ready, sender);
    else if (&socket == &sandbox.agentControl) HandleFromAgent(sandbox, buffer.message);
    else HandleMessage(sandbox, buffer.message, sender, std::move(descriptor));
  }
}

void Service::HandleFromAgent(Sandbox& sandbox, const Message& message) {
  if (sandbox.phase != Sandbox::Setup || sandbox.failure) return;
  if (message.kind == M_AT_STEP) {
    if (sandbox.request.faultErrno == FAULT_DEATH) kill(getpid(), SIGKILL);
    return;
  }
  if (message.kind != M_FAILED) return Refuse(sandbox, {S_verify, EPROTO, "a message that no agent sends"});
  Refuse(sandbox, {static_cast<Step>(message.step), message.error, message.text});
}

void Service::HandleMessage(Sandbox& sandbox, const Message& message, pid_t sender, Fd descriptor) {
  // Until there is a PID 1 to be sure of, its template can be heard here.
  if (sandbox.request.role == ROLE_FORKED && sandbox.initPid == 0 && message.kind != M_STAGE2) {
    descriptor.reset();
    return HandleFromAgent(sandbox, message);
  }
  switch (message.kind) {
    case M_STAGE2:
      if (sandbox.request.role == ROLE_FORKED) return HandleBirth(sandbox, sender, std::move(descriptor));
      return HandleStage2(sandbox, sender);
    case M_PREPARED:
      return HandlePrepared(sandbox);
    case M_AT_STEP:
      if (sandbox.request.faultErrno == FAULT_DEATH) kill(getpid(), SIGKILL);
      return;
    case M_FAILED:
      // Whoever waited at the gate was killed there, and PID 1 ends with it: nothing ran.
      if (sandbox.phase == Sandbox::Setup && sandbox.taken && sandbox.furnished && message.step == S_gate2 && message.error == ECHILD) {
        sandbox.isGateOpen = false;
        return;
      }
      return Refuse(sandbox, {static_cast<Step>(message.step), message.error, message.text});
    case M_EXEC_FAILED:
      sandbox.execFailed = true;
      return Refuse(sandbox, {S_exec, message.error, sandbox.request.program.argv[0]});
    case M_STARTED: {
      if (sandbox.phase != Sandbox::Setup || sandbox.failure) return;
      if (!sandbox.isGateOpen) return Refuse(sandbox, {S_verify, EPROTO, "started before it was let go"});
      sandbox.phase = Sandbox::Running;
      if (!sandbox.request.ahead) setups_--;
      for (Fd& fd : sandbox.stdioChild) fd.reset();
      sandbox.agentControl.reset();  // it has said what it had to say
      // A template ends when nobody can ask it for anything any more, also while agents of it live.
      sandbox.request.templateChannel.reset();
      const uint64_t now = NowUs();
      sandbox.setupUs.push_back({"exec", now - sandbox.runningSinceUs});
      sandbox.setupUs.push_back({"total", now - sandbox.request.calledAtUs});
      sandbox.runningSinceUs = now;
      auto event = MakeEvent(Event::Launched, sandbox.launchOp);
      event->pid = sandbox.agentPid;
      event->initPid = sandbox.initPid;
      event->instance = sandbox.cgroup.name();
      for (int i = 0; i < 3; i++) event->fds[i] = sandbox.stdioOurs[i].release();
      event->layers.assign(sandbox.layers, sandbox.layers + LAYER_COUNT);
      event->setupUs = sandbox.setupUs;
      Deliver(sandbox.client, std::move(event));
      if (!sandbox.unprivileged) spare_netns::Refill();
      NoteBusy(sandbox.request.cgroupParent);
      PlanRefill(sandbox.request.cgroupParent, 0);
      if (sandbox.request.role == ROLE_FORKED) PlanSpare(sandbox.request.templateUid);
      return;
    }
    case M_MAIN_EXITED:
      sandbox.mainExited = true;
      sandbox.mainStatus = message.status;
      sandbox.wallUs = message.wallUs;
      // Of the children of PID 1: its own figure still counts the kernel process it was cloned from.
      sandbox.maxRssBytes = static_cast<uint64_t>(message.op) << 10;
      if ((sandbox.request.disable & bit(L_pidns)) != 0) {
        KillTree(sandbox);  // no namespace that takes the rest along
      } else if (sandbox.cgroup.Processes() == std::vector<int>{sandbox.initPid}) {
        // Only PID 1 is left, taking its namespaces down: the figures are final, and reading them costs no time now.
        const std::lock_guard lock(sandbox.mutex);
        sandbox.finalUsage = sandbox.cgroup.Usage(true);
        sandbox.counted = true;
      }
      return;
    case M_EXEC_STARTED:
      return HandleExecStarted(sandbox, message, std::move(descriptor));
    case M_EXEC_EXITED: {
      const auto found = sandbox.ops.find(message.op);
      if (found == sandbox.ops.end()) return;
      auto event = MakeEvent(Event::ExecExited, found->second.exitOp);
      event->status = message.status;
      event->hasStatus = true;
      event->timedOut = found->second.timedOut;
      event->wallUs = message.wallUs;
      sandbox.ops.erase(found);
      return Deliver(sandbox.client, std::move(event));
    }
    case M_OPENED:
      return HandleOpened(sandbox, message, std::move(descriptor));
    default:
      return;
  }
}

}  // namespace clove
