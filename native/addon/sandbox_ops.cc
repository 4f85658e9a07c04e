// What is asked of a running sandbox: signals, freezing, commands, files, figures.
#include <signal.h>
#include <sys/stat.h>

#include "../init/sys.h"
#include "sandbox_clear.h"
#include "sandbox_remains.h"
#include "sandbox_service.h"

namespace clove {
namespace {

const char* OpenErrorCode(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return "NOT_FOUND";
    case EACCES:
    case EPERM:
    case EROFS:
      return "FORBIDDEN";
    case ELOOP:
    case EXDEV:
    case EISDIR:
    case ENXIO:
    case ENODEV:
      return "PATH_REFUSED";
    default:
      return "IO";
  }
}

}  // namespace

void Service::Signal(uint32_t id, int signal) {
  Post([this, id, signal] {
    const auto sandbox = Find(id);
    if (sandbox != nullptr && sandbox->phase == Sandbox::Running) PidfdSendSignal(sandbox->agentPidfd.get(), signal);
  });
}

void Service::Kill(uint32_t id, bool timeout) {
  Post([this, id, timeout] {
    const auto sandbox = Find(id);
    if (sandbox == nullptr) return;
    ReadControl(*sandbox);  // an end that came first is not a kill
    if (sandbox->phase == Sandbox::Setup) return Refuse(*sandbox, {S_timeout, ECANCELED, "killed during the setup"});
    if (sandbox->killReason == nullptr && !sandbox->mainExited) sandbox->killReason = timeout ? "timeout" : "killed";
    KillTree(*sandbox);
  });
}

// PID 1 answers at once, unless the agent stops the child that is about to become the command (they have one user): then
// PID 1 waits for that child, and nobody else shall. Four times what a whole setup may take.
uint64_t AnswerWithinUs(const Sandbox& sandbox) { return 4 * kMs * sandbox.request.setupTimeoutMs; }

void Service::Await(Sandbox& sandbox, uint32_t op, PendingOp pending) {
  sandbox.ops.emplace(op, std::move(pending));
  if (sandbox.opsWatched) return;
  sandbox.opsWatched = true;
  After(AnswerWithinUs(sandbox), [this, id = sandbox.id] { GiveUpOldOps(id); });
}

void Service::GiveUpOldOps(uint32_t id) {
  const auto sandbox = Find(id);
  if (sandbox == nullptr) return;
  const uint64_t now = NowUs(), within = AnswerWithinUs(*sandbox);
  uint64_t oldest = ~0ull;
  for (auto entry = sandbox->ops.begin(); entry != sandbox->ops.end();) {
    const auto& [op, pending] = *entry;
    if (pending.started) {
      ++entry;
    } else if (now - pending.askedUs < within) {
      oldest = std::min(oldest, pending.askedUs);
      ++entry;
    } else {
      Deliver(sandbox->client, MakeError(op, "TIMEOUT", "the sandbox does not answer: its agent may have stopped what it was asked for"));
      entry = sandbox->ops.erase(entry);
    }
  }
  sandbox->opsWatched = oldest != ~0ull;
  if (sandbox->opsWatched) After(oldest + within - now, [this, id] { GiveUpOldOps(id); });
}

void Service::Exec(uint32_t id, uint32_t op, uint32_t exitOp, std::unique_ptr<ExecRequest> request, std::shared_ptr<Client> client) {
  Post([this, id, op, exitOp, request = std::shared_ptr<ExecRequest>(std::move(request)), client = std::move(client)] {
    const auto sandbox = Find(id);
    if (sandbox == nullptr || sandbox->phase != Sandbox::Running) return Deliver(client, MakeError(op, "NOT_FOUND", "the sandbox has ended"));
    PendingOp pending;
    pending.kind = PendingOp::Exec;
    pending.exitOp = exitOp;
    pending.timeoutMs = request->timeoutMs;
    Fd theirs[3];
    for (int i = 0; i < 3; i++) {
      if (i == 0 && !request->stdinPipe) {
        theirs[i] = Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
        continue;
      }
      int ends[2];
      if (pipe2(ends, O_CLOEXEC) != 0) return Deliver(client, MakeError(op, "IO", "no more descriptors for pipes", errno));
      theirs[i] = Fd(ends[i == 0 ? 0 : 1]);
      pending.ends[i] = Fd(ends[i == 0 ? 1 : 0]);
    }
    const Fd blob = MemoryFile("clove-command", BuildCommand(request->program));
    const int fds[] = {blob.get(), theirs[0].get(), theirs[1].get(), theirs[2].get()};
    Message message{};
    message.kind = M_EXEC;
    message.op = op;
    if (!blob.valid() || !SendTo(*sandbox, message, fds, 4))
      return Deliver(client, MakeError(op, errno == EAGAIN ? "OVERLOAD" : "IO", "the sandbox takes no command now", errno));
    Await(*sandbox, op, std::move(pending));
  });
}

void Service::HandleExecStarted(Sandbox& sandbox, const Message& message, Fd descriptor) {
  const auto found = sandbox.ops.find(message.op);
  if (found == sandbox.ops.end()) {  // given up: nobody would ever end it
    Message kill{};
    kill.kind = M_EXEC_KILL;
    kill.op = message.op;
    kill.status = SIGKILL;
    if (message.error == 0) SendTo(sandbox, kill, nullptr, 0);
    return;
  }
  PendingOp& pending = found->second;
  if (message.error != 0) {
    const bool directory = message.status == 1;
    const char* code = message.error == EAGAIN ? "OVERLOAD" : "EXEC_FAILED";
    auto event = MakeError(message.op, code, directory ? "working directory" : "execve", message.error);
    sandbox.ops.erase(found);
    return Deliver(sandbox.client, std::move(event));
  }
  // "Pid:" of a pidfd is the process's number where the reader of /proc lives.
  std::string info;
  ReadFileAt(AT_FDCWD, ("/proc/self/fdinfo/" + std::to_string(descriptor.get())).c_str(), info);
  const size_t at = info.find("\nPid:\t");
  pending.started = true;
  pending.startedUs = NowUs();
  auto event = std::make_unique<Event>();
  event->kind = Event::ExecStarted;
  event->op = message.op;
  event->pid = at == std::string::npos ? -1 : atoi(info.c_str() + at + 6);
  for (int i = 0; i < 3; i++) event->fds[i] = pending.ends[i].release();
  if (pending.timeoutMs > 0) {
    const uint32_t id = sandbox.id, op = message.op;
    After(pending.timeoutMs * 1000, [this, id, op] {
      const auto live = Find(id);
      if (live == nullptr) return;
      const auto running = live->ops.find(op);
      if (running == live->ops.end()) return;
      running->second.timedOut = true;
      Message kill{};
      kill.kind = M_EXEC_KILL;
      kill.op = op;
      kill.status = SIGKILL;
      SendTo(*live, kill, nullptr, 0);
    });
  }
  Deliver(sandbox.client, std::move(event));
}

void Service::ExecKill(uint32_t id, uint32_t op, int signal) {
  Post([this, id, op, signal] {
    const auto sandbox = Find(id);
    if (sandbox == nullptr) return;
    Message message{};
    message.kind = M_EXEC_KILL;
    message.op = op;
    message.status = signal;
    SendTo(*sandbox, message, nullptr, 0);
  });
}

void Service::Open(uint32_t id, uint32_t op, std::string path, int flags, uint32_t mode, bool truncate, std::shared_ptr<Client> client) {
  Post([=, this, path = std::move(path), client = std::move(client)] {
    const auto sandbox = Find(id);
    if (sandbox == nullptr || sandbox->phase != Sandbox::Running) return Deliver(client, MakeError(op, "NOT_FOUND", "the sandbox has ended"));
    Message message{};
    message.kind = M_OPEN;
    message.op = op;
    message.status = flags;
    message.step = mode;
    memcpy(message.text, path.c_str(), std::min(path.size(), sizeof message.text - 1));
    if (!SendTo(*sandbox, message, nullptr, 0))
      return Deliver(client, MakeError(op, errno == EAGAIN ? "OVERLOAD" : "IO", "the sandbox opens nothing now", errno));
    PendingOp pending;
    pending.forWriting = (flags & O_ACCMODE) != O_RDONLY;
    pending.truncate = truncate;
    Await(*sandbox, op, std::move(pending));
  });
}

void Service::HandleOpened(Sandbox& sandbox, const Message& message, Fd descriptor) {
  const auto found = sandbox.ops.find(message.op);
  if (found == sandbox.ops.end()) return;
  const bool forWriting = found->second.forWriting, truncate = found->second.truncate;
  sandbox.ops.erase(found);
  const auto refuse = [&](const char* code, const char* why, int error) { Deliver(sandbox.client, MakeError(message.op, code, why, error)); };
  if (message.error != 0 || !descriptor.valid()) return refuse(OpenErrorCode(message.error), "open", message.error);
  struct stat info {};
  if (fstat(descriptor.get(), &info) != 0) return refuse("IO", "fstat", errno);
  if (!S_ISREG(info.st_mode) || IsWindowIntoKernel(descriptor.get())) return refuse("PATH_REFUSED", "not a regular file", 0);
  // A second name may be the real one of a file elsewhere.
  if (forWriting && info.st_nlink != 1) return refuse("PATH_REFUSED", "has more than one name", 0);
  // Only now, after the checks: O_TRUNC would have emptied the file before them.
  if (truncate && ftruncate(descriptor.get(), 0) != 0) return refuse("IO", "ftruncate", errno);
  fcntl(descriptor.get(), F_SETFL, fcntl(descriptor.get(), F_GETFL) & ~O_NONBLOCK);
  auto event = std::make_unique<Event>();
  event->kind = Event::Opened;
  event->op = message.op;
  event->fds[0] = descriptor.release();
  Deliver(sandbox.client, std::move(event));
}

void Service::OpenGroups(std::string path, uint32_t op, std::shared_ptr<Client> client) {
  Post([this, path = std::move(path), op, client = std::move(client)] {
    Failure failure;  // for the layers that need a group to tell
    Parent(path, failure);
    Deliver(client, MakeEvent(Event::Done, op));
  });
}

void Service::Reconcile(std::string path, uint32_t op, std::shared_ptr<Client> client) {
  Post([this, path = std::move(path), op, client = std::move(client)] {
    bool live = false;
    {
      const std::lock_guard lock(tableMutex_);
      for (const auto& [id, sandbox] : table_) live |= sandbox->request.cgroupParent == path;
    }
    remains::Settle(path);
    if (!live) parents_.erase(path);  // gives up our own lock
    const auto answer = [this, path, op, client](clearing::Outcome outcome) {
      if (outcome.kind == clearing::Outcome::Gone) Deliver(client, MakeEvent(Event::Done, op));
      else if (outcome.kind == clearing::Outcome::Held) Deliver(client, MakeError(op, "CONFLICT", "somebody lives in the groups of " + path));
      else Deliver(client, MakeError(op, "TIMEOUT", "SIGKILL did not end what is in " + outcome.left));
    };
    if (live) return answer({clearing::Outcome::Held, ""});
    clearing::Begin(path, [this, answer](clearing::Outcome outcome) { Post([answer, outcome = std::move(outcome)] { answer(outcome); }); });
  });
}

bool Service::Stats(uint32_t id, CgroupUsage& usage, std::vector<int>& processes) {
  const auto sandbox = Find(id);
  if (sandbox == nullptr) return false;
  const std::lock_guard lock(sandbox->mutex);
  if (sandbox->phase != Sandbox::Running) return false;
  usage = sandbox->cgroup.Usage(false);
  processes = sandbox->cgroup.Processes();
  return true;
}

}  // namespace clove
