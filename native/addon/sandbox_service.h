// The service thread: it alone clones, watches and reaps sandboxes, and it lives as long as the process, because the
// death signal of a child fires when the thread that made it ends.
#pragma once
#include <sys/types.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <unordered_map>

#include "sandbox_request.h"

namespace clove {

/** What was begun ahead and came to nothing so often in a row is not begun again. */
inline constexpr uint32_t kFailuresUntilGivenUp = 3;

struct PendingOp {
  enum Kind { Exec, Open } kind = Open;
  uint32_t exitOp = 0;
  Fd ends[3];           // our ends of an exec's pipes, until it has started
  uint64_t timeoutMs = 0;
  uint64_t askedUs = NowUs(), startedUs = 0;
  bool started = false, timedOut = false;
  bool forWriting = false, truncate = false;  // of Open
};

struct Sandbox {
  uint32_t id = 0, launchOp = 0, exitOp = 0;
  std::shared_ptr<Client> client;
  LaunchRequest request;
  LayerResult layers[LAYER_COUNT] = {};
  std::vector<std::pair<const char*, uint64_t>> setupUs;

  std::mutex mutex;  // guards cgroup against stats() from the JavaScript thread
  Cgroup cgroup;
  std::vector<Fd> mountTrees, tasks;
  std::vector<bool> mountIsDirectory;
  Fd agentControl;  // of a template's agent: the socket that it was born with, and its template with it
  Fd control, childControl, plan, netns, initPidfd, agentPidfd, oomEvent;
  Fd stdioChild[3], stdioOurs[3];
  Fd mountNamespace, networkNamespace;  // keep them until nobody waits for their end any more
  pid_t initPid = 0, agentPid = 0;
  uint32_t spareOf = 0;        // made ahead and not taken yet: the user of its template
  std::string templateFilters;  // how many the template had when none of its code had run
  std::string poolOf;          // made ahead and not taken yet: the parent of its groups
  std::string hostFingerprint;  // of what it was made from
  bool waitsForAgent = false;   // made ahead, and complete
  bool furnished = false;       // what it runs comes with gate 2
  uint64_t setupDeadlineUs = 0;
  bool isGateOpen = false;      // the agent may have run
  std::string planBytes;        // of one that is furnished and not taken
  std::string mountSources;     // what was found at them then
  Fd mountTable;                // tells of changes to it since then
  bool building = false;        // in the hands of the thread that makes sandboxes ahead
  bool taken = false;           // from a pool
  bool noPool = false;          // the one from the pool was dead: made anew, in the ordinary way
  bool unprivileged = false;  // clove-init makes the namespaces, below a user namespace

  enum Phase { Setup, Running, Ended };
  std::atomic<Phase> phase{Setup};
  Failure failure;      // why the setup was refused
  bool execFailed = false, oomWatched = false;
  bool byUser = false;  // every process of its user is its own
  bool dying = false;  // KillTree was here; freezing it now would keep it alive on v1
  bool wantsFrozen = false;  // what was asked last
  bool mainExited = false, initReaped = false;
  int mainStatus = 0;
  uint64_t wallUs = 0, runningSinceUs = 0, baseUserUs = 0, baseSystemUs = 0;
  uint64_t treeUserUs = 0, treeSystemUs = 0, maxRssBytes = 0;
  const char* killReason = nullptr;
  int removeAttempts = 0;
  bool counted = false;  // finalUsage was read, after the last process and before the groups went
  CgroupUsage finalUsage;
  std::map<uint32_t, PendingOp> ops;
  bool opsWatched = false;
};

/** Writes down how long each part of a launch takes. */
class StageClock {
 public:
  explicit StageClock(Sandbox& sandbox) : StageClock(sandbox, sandbox.request.calledAtUs) {}
  StageClock(Sandbox& sandbox, uint64_t fromUs) : sandbox_(sandbox), last_(fromUs) {}
  void operator()(const char* name) {
    const uint64_t now = NowUs();
    sandbox_.setupUs.push_back({name, now - last_});
    last_ = now;
  }

 private:
  Sandbox& sandbox_;
  uint64_t last_;
};

// sandbox_spawn.cc
/** Everything of the parent before gate 1, and the clone. On failure nothing of the agent ran; cgroups may remain. */
Failure Spawn(Sandbox& sandbox, const std::shared_ptr<CgroupParent>& parent, int initImage);
/** Takes hold of what the request wants mounted. */
Failure OpenMounts(Sandbox& sandbox);
/** The agent's 0, 1 and 2, and our ends of those that are pipes. */
Failure OpenStreams(Sandbox& sandbox);
Failure ApplyLimits(Sandbox& sandbox);
Failure WritePlan(Sandbox& sandbox);
/** A new control socket; `childControl` is the end of PID 1. */
Failure OpenControl(Sandbox& sandbox);
/** The sealed copy of clove-init that every sandbox starts from. */
Fd SealedImage(const std::string& path);
// sandbox_pool.cc
/** Changes when something else is at a place that sandboxes bind: another mount, another file. */
std::string HostFingerprint();
/** Whether the sandbox of a request begins like those that are made ahead: all of the default profile's layers. */
bool FitsPool(const LaunchRequest& request);
/** Of a process, by its descriptor. */
bool HasEnded(int pidfd);
// sandbox_zygote.cc
/** Asks the template for a process in place of the clone. On success one is on its way, or a message why not. */
Failure AskTemplate(Sandbox& sandbox, uint64_t namespaces, int initImage);
/** It has been born there: nobody else is to be. */
void CloseGroup(const Sandbox& sandbox);
/** Takes a socket for the order from PID 1, which alone has the other end, in place of the one that came through the template. */
Failure TakeOrderSocket(Sandbox& sandbox, const std::string& templateFilters);
/** Writes the numbers of its user namespace: the agent's own user, and the template's for what is made before that. */
Failure MapUsers(Sandbox& sandbox);
// sandbox_user.cc
/** Neither a group nor a pid namespace holds its processes together, but perhaps a user of its own. */
bool KillsByUser(const LaunchRequest& request);
/** SIGKILL to every process of this user, at once: nothing that forks meanwhile escapes. */
void KillUser(uid_t uid);
/** Whether a process of this user lives; what only waits to be reaped does not. */
bool UserHasProcesses(uid_t uid);
// sandbox_verify.cc
/** Looks at the waiting agent from outside; a layer reported on that is not so refuses the spawn. */
Failure Verify(Sandbox& sandbox);
/** The rest of the line "Name:\t…" of /proc/<pid>/status. */
std::string StatusField(const std::string& status, const char* name);

class Service {
 public:
  static Service& Get();
  /** Runs on the service thread, in order. */
  void Post(std::function<void()> task);
  void SetInitImage(const std::string& path);

  uint32_t Launch(std::shared_ptr<Client> client, std::unique_ptr<LaunchRequest> request, uint32_t launchOp, uint32_t exitOp);
  void Signal(uint32_t id, int signal);
  void Kill(uint32_t id, bool timeout);
  void Freeze(uint32_t id, uint32_t op, bool frozen, std::shared_ptr<Client> client);
  void Exec(uint32_t id, uint32_t op, uint32_t exitOp, std::unique_ptr<ExecRequest> request, std::shared_ptr<Client> client);
  void ExecKill(uint32_t id, uint32_t op, int signal);
  void Open(uint32_t id, uint32_t op, std::string path, int flags, uint32_t mode, bool truncate, std::shared_ptr<Client> client);
  /** Makes the parent groups of a boot, which its first sandbox would; answers when they are there, or cannot be. */
  void OpenGroups(std::string path, uint32_t op, std::shared_ptr<Client> client);
  void Reconcile(std::string path, uint32_t op, std::shared_ptr<Client> client);
  bool Stats(uint32_t id, CgroupUsage& usage, std::vector<int>& processes);
  /** At most so many sandboxes wait for an agent below a parent group; 0 = none. Answers when there are no more than that. */
  void ResizePool(std::string cgroupParent, uint32_t size, uint32_t op, std::shared_ptr<Client> client);
  /** Of this template nothing is made any more; what waits for agents ends. */
  void EndSpares(uint32_t templateUid);
  void PoolOf(std::string cgroupParent, uint32_t op, std::shared_ptr<Client> client);
  /** The next agent is expected to be like this, whatever it runs: one of the pool's is made ready for it when nobody waits. */
  void Furnish(std::unique_ptr<LaunchRequest> request);
  /** That agent does not come. */
  void Unfurnish(std::string cgroupParent, uint32_t uid);
  /** Kills what the client has and waits until it is gone (at its environment's end). */
  void CloseClient(const std::shared_ptr<Client>& client);

 private:
  enum Source : uint32_t { Command, Control, Init, Oom };
  /** Sandboxes made ahead, below one parent group. Only the service thread has them in hand. */
  struct Pool {
    std::shared_ptr<Client> client;
    size_t size = 0;    // the most that may wait
    size_t demand = 0;  // launches that could have used one: so many are made, up to the size
    uint64_t tmpfsBytes = 1 << 26, tmpfsInodes = 1 << 14;  // of the last of them
    uint64_t busyAtUs = 0;  // when an agent was started or ended last
    uint64_t made = 0, used = 0, discarded = 0, failed = 0;
    std::deque<std::shared_ptr<Sandbox>> waiting;
    std::unique_ptr<LaunchRequest> wanted;  // how the next agent is expected to be
    std::shared_ptr<Sandbox> furnished;     // made ready for that one
    uint32_t wrongGuesses = 0, guessesToSkip = 0;
    std::shared_ptr<Sandbox> making;  // one at a time
    size_t alive = 0;                 // members that nobody took and that are not gone yet
    uint32_t failuresInARow = 0;
    bool refillPlanned = false;
    std::vector<std::pair<uint32_t, std::shared_ptr<Client>>> resizeOps;
  };
  /** Agents of one template that are born and nobody yet. */
  struct Spares {
    std::shared_ptr<Client> client;
    Fd channel;
    std::string cgroupParent;
    uint32_t gid = 0, failuresInARow = 0;
    size_t size = 0;    // the most that may wait
    size_t wanted = 0;  // as many as were missed
    std::deque<std::shared_ptr<Sandbox>> waiting;
    std::shared_ptr<Sandbox> making;
    bool isPlanned = false;
  };
  Service();
  void Loop();
  void Watch(int fd, uint32_t events, Source source, uint32_t id);
  void After(uint64_t delayUs, std::function<void()> task);
  std::shared_ptr<Sandbox> Find(uint32_t id);
  std::shared_ptr<CgroupParent> Parent(const std::string& path, Failure& failure);

  void Start(const std::shared_ptr<Sandbox>& sandbox);
  /** What Spawn has begun goes on here. */
  void Spawned(Sandbox& sandbox, Failure failure);
  void AwaitReady(Sandbox& sandbox);
  // sandbox_pool.cc
  /** Puts a waiting sandbox in the place of the one to be made. False: there is none that fits. */
  bool TakeFromPool(Sandbox& sandbox);
  /** Gives what a waiting member holds to the one that was asked for. False: it has ended. */
  bool TakeOver(Sandbox& sandbox, Sandbox& member);
  Failure Order(Sandbox& sandbox, StageClock& stage);
  /** Begins what a member that was taken over is for. */
  void OrderTaken(Sandbox& sandbox);
  // sandbox_furnish.cc
  /** Puts the one that was made ready for just this agent in the place of the one to be made. False: there is none. */
  bool TakeFurnished(Sandbox& sandbox);
  void FurnishNext(Pool& pool);
  void DropFurnished(Pool& pool);
  // sandbox_service.cc
  void OpenGate2(Sandbox& sandbox);
  // sandbox_pool.cc
  /** What was taken died before it had its agent: nothing ran, and the launch goes the ordinary way. */
  void StartWithoutPool(Sandbox& dead);
  /** One to be made ahead, for nobody yet; its groups are called after its `kind`. */
  std::shared_ptr<Sandbox> NewMember(const char* kind, const std::shared_ptr<Client>& client, const std::string& cgroupParent);
  /** Into the table of what there is. */
  void Enter(const std::shared_ptr<Sandbox>& sandbox);
  void PlanRefill(const std::string& cgroupParent, uint64_t delayUs);
  /** An agent is being started, runs, or has ended. */
  void NoteBusy(const std::string& cgroupParent);
  void Refill(const std::string& cgroupParent);
  // sandbox_spares.cc
  bool TakeSpare(Sandbox& sandbox);
  void PlanSpare(uint32_t templateUid);
  void MakeSpare(uint32_t templateUid);
  void SpareBorn(Sandbox& member);
  void SpareGone(Sandbox& member);
  // sandbox_maker.cc
  void Make(const std::shared_ptr<Sandbox>& member);
  // sandbox_pool.cc
  void HandlePrepared(Sandbox& member);
  void MemberGone(Sandbox& member);
  void AnswerResize(Pool& pool);
  void Refuse(Sandbox& sandbox, Failure failure);
  void ReadControl(Sandbox& sandbox);
  /** Some messages, and no more than that: what has been taken over could send without an end. */
  void ReadFrom(Sandbox& sandbox, Fd& socket, int most);
  /** Of a template's agent, by the socket that it was born with: that it is ready, or why not, and nothing else. */
  void HandleFromAgent(Sandbox& sandbox, const Message& message);
  void HandleStage2(Sandbox& sandbox, pid_t pid);
  void HandleBirth(Sandbox& sandbox, pid_t pid, Fd pidfd);
  void HandleReady(Sandbox& sandbox, const Ready& ready, pid_t agent);
  void HandleMessage(Sandbox& sandbox, const Message& message, pid_t sender, Fd descriptor);
  void HandleOpened(Sandbox& sandbox, const Message& message, Fd descriptor);
  void HandleExecStarted(Sandbox& sandbox, const Message& message, Fd descriptor);
  /** False, with errno, when the end of memory would go unnoticed. */
  bool WatchOom(Sandbox& sandbox);
  void CheckOom(Sandbox& sandbox, uint64_t delayUs);
  void KillTree(Sandbox& sandbox);
  // sandbox_freeze.cc
  void WaitFrozen(uint32_t id, uint32_t op, bool frozen, uint32_t looks, std::shared_ptr<Client> client, uint64_t deadlineUs);
  void HandleInitExit(Sandbox& sandbox);
  void Finish(uint32_t id);
  void EndOps(Sandbox& sandbox);
  void Await(Sandbox& sandbox, uint32_t op, PendingOp pending);
  void GiveUpOldOps(uint32_t id);
  void Deliver(const std::shared_ptr<Client>& client, std::unique_ptr<Event> event);
  bool SendTo(Sandbox& sandbox, Message& message, const int* fds, int fdCount);
  bool SendOver(const Fd& socket, Message& message, const int* fds, int fdCount);

  int epoll_ = -1, wake_ = -1;
  Fd initImage_;
  std::mutex taskMutex_;
  std::deque<std::function<void()>> tasks_;
  std::multimap<uint64_t, std::function<void()>> timers_;
  std::mutex tableMutex_;
  std::unordered_map<uint32_t, std::shared_ptr<Sandbox>> table_;
  std::map<std::string, std::shared_ptr<CgroupParent>> parents_;
  std::map<std::string, Pool> pools_;
  std::map<uint32_t, Spares> spares_;  // by the user of the template
  std::map<uint32_t, std::string> templateFilters_;  // by the user of the template
  size_t setups_ = 0;  // launches for agents that do not run yet
  std::atomic<uint32_t> nextId_{1};
};

}  // namespace clove
