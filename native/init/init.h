// The parts of clove-init. No heap, no locale, no exceptions: everything lives in static storage and the plan's mapping.
#pragma once
#include "plan.h"
#include "sys.h"

namespace clove {

extern Plan* plan;         // writable private mapping of the plan; its offsets are relative to itself
extern Ready ready;        // filled while the layers are made
extern int landlockAbi;    // 0 = none

template <typename T>
T* At(uint32_t offset) {
  return offset == 0 ? nullptr : reinterpret_cast<T*>(reinterpret_cast<char*>(plan) + offset);
}

// --- report.cc
bool Wanted(Layer layer);
/** Evidence that a layer is on. */
void LayerOn(Layer layer, const char* how, ...) __attribute__((format(printf, 2, 3)));
void LayerSet(Layer layer, LayerState state, int error, const char* how);
/** Tells the parent and ends; nothing of the agent ran. */
[[noreturn]] void Fail(Step step, int error, const char* detail);
/** True when fault injection asks this step to fail; errno is set then. */
bool Faulted(Step step);
/**
 * Takes the result of the step's call. Failure of a step whose layer is required (or that has none) ends the setup;
 * of another one turns the layer off and is reported with its errno. Returns whether it succeeded.
 */
bool Check(Step step, long result, const char* detail = "");
constexpr int MAX_SENT_FDS = 4;
bool SendTo(int socket, const void* data, size_t size, const int* descriptors, int count);
bool Send(const void* data, size_t size, int descriptor = -1);
void SendSimple(MessageKind kind, uint32_t op, int error, int status, uint64_t wallUs, int descriptor = -1);

// --- main.cc
/** Everything between the plan and the agent: groups, namespaces, root, rights, filters. */
void BuildSandbox();
// --- userns.cc
/** Continues as PID 1 of new namespaces, owned by a new user namespace. Only the child returns. */
void EnterUserNamespace();
// --- root.cc
/** The file system as it is for every agent, in place of the host's. */
void BuildRoot();
/** What in it is of this agent: names, ownership, mounts. */
void FurnishRoot();
/** Where the trees of the plan's mounts are, when not at FD_MOUNTS. */
void TakeMountTrees(const int* descriptors);
// --- order.cc
/** Blocks until the parent sends `kind`; false on anything else and when the parent is gone. */
bool AwaitGate(MessageKind kind);
/** Maps a plan in place of the one before, and closes its descriptor; ends the process when it is damaged. */
void ReadPlan(int descriptor = FD_PLAN);
/** A sandbox made ahead waits for its agent. Ends with the kernel process. */
void AwaitOrder();
/** PID 1 of an agent of a template has no plan before this; it takes the mounts when the root is there, and passes on the rest. */
void AwaitFirstOrder(int socket);
void TakeOrderedMounts();
bool PassOrder(int socket);
/** The agent's part of that: the plan, and its 0, 1 and 2. */
void TakeOrder(int socket);
// --- forked.cc: PID 1 of an agent that was forked from a template, and is there before it
/** A socket between PID 1 and the agent, in place of a plan. */
constexpr int FD_FAMILY = FD_PLAN;
/** How the agent's setup ended; its number in the pid namespace. */
struct Passed {
  int32_t step, error, pid;
};
/** Tells the kernel process of both, and waits for what the agent is to be. */
void MeetAgent();
/** The root is there: the agent gives up its rights while PID 1 does. */
void LetAgentBecome();
/** Lets the agent report, answers for it until it runs, and serves. */
[[noreturn]] void FollowAgent();
/** What came with gate 2: what to run, its 0, 1 and 2. null = the kernel process is gone, or says something else. */
const int* ReceiveProgram();
// --- drop.cc
/** No program may ever have what PID 1 has now, which it needs a little longer. */
void LimitRights();
void DropPrivileges();
void ApplySeccomp();
void Attest();
// --- landlock.cc
/** Gathers the rules that do not depend on the agent. `besideAgent`: for PID 1 alone, not for what it forks. */
void PrepareLandlock(bool besideAgent = false);
void ApplyLandlock();
// --- execute.cc
/** What a cloned child is to become. Lives in the memory both share; `error` is the child's answer when it never execs. */
struct Launch {
  char* base;
  const Command* command;
  int stdio[3];  // -1 = keep
  bool agent;    // the agent itself: reports readiness and passes gate 2
  Step step;
  volatile int error;
  bool isGiven;  // what to run, and its 0, 1, 2, come with gate 2: `base` and `command` are set then
  uint64_t size;
  volatile bool isLetGo;  // of the agent itself: it has passed gate 2
};
/** Makes pointer tables out of the offset tables of a blob. False when an offset leaves the blob. */
bool Relocate(char* base, uint64_t size, const Command& command);
uint64_t NowUs();
/** Clones a child that shares memory until it execs or exits, while the caller waits. Returns its pid, -1 with errno. */
int StartProgram(Launch& launch, int* pidfd);
/** The same for one that may have to wait long for its gate: the caller is asleep meanwhile, and not counted as busy. */
int StartGivenProgram(Launch& launch);
// --- program.cc
/** As execve; in a world with a clock of its own, programs that take no library are started as that needs. */
int ExecuteProgram(const char* path, char* const* argv, char* const* environment);
// --- serve.cc
/** PID 1's life: reaps, answers EXEC and OPEN, ends with the agent or with the kernel. */
[[noreturn]] void Serve(int agentPid, uint64_t startedUs);

/** Step wrapper: `STEP_CALL(S_uid, setresuid(...))`. */
#define STEP_CALL(step, call) Check(step, Faulted(step) ? -1 : static_cast<long>((call)))

}  // namespace clove
