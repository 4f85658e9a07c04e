// What the kernel process and clove-init say to each other: one plan (a memfd), then messages on one SEQPACKET socket.
#pragma once
#include <stdint.h>

namespace clove {

enum Layer : uint8_t {
#define LAYER(name) L_##name,
#include "layers.def"
#undef LAYER
  LAYER_COUNT,
  L_NONE = 255,
};

enum Step : uint8_t {
#define STEP(name, layer, call) S_##name,
#include "steps.def"
#undef STEP
  STEP_COUNT,
  S_NONE = 255,
};

constexpr uint64_t bit(Layer layer) { return layer == L_NONE ? 0 : 1ull << layer; }

enum LayerState : uint8_t { STATE_OFF = 0, STATE_ON = 1, STATE_DEGRADED = 2, STATE_NA = 3 };

struct LayerResult {
  uint8_t state;
  int32_t error;
  char how[160];
};

// Numbers of the descriptors that clove-init starts with; 0, 1, 2 are the agent's.
// A program forked from a template (native/zygote) has its runtime's own there: it is compiled with numbers above those.
#ifndef CLOVE_FIRST_FD
#define CLOVE_FIRST_FD 3
#endif
constexpr int FD_CONTROL = CLOVE_FIRST_FD;
constexpr int FD_PLAN = CLOVE_FIRST_FD + 1;
constexpr int FD_MOUNTS = CLOVE_FIRST_FD + 2;

/**
 * PID 1 of an agent of a template was born with a control socket that the template has held. It makes a pair for its order: the kernel process takes one end
 * from this number, once the process is called so. Nobody else can be that: an execve gives no name with a slash, and only the process itself another.
 */
constexpr int FD_ORDER = CLOVE_FIRST_FD + 2;
inline constexpr char AWAITS_ORDER[] = "clove/init";

constexpr uint32_t MAX_MOUNTS = 64;
constexpr uint32_t MAX_PATH = 4096;
constexpr uint32_t MAX_EXECS = 64;

// Offsets count from the start of the blob that holds the structure; 0 = absent.
struct Command {
  uint32_t argv;  // table of argc + 1 u64 offsets, the last 0; becomes the pointer array in place
  uint32_t argc;
  uint32_t env;
  uint32_t envc;
  uint32_t cwd;
  uint32_t searchPath;
};

struct PlanMount {
  uint32_t target;  // path inside, without the leading slash
  uint32_t source;  // only where clove-init opens it itself (user namespace mode), else 0
  uint8_t readonly;
  uint8_t directory;
};

enum PlanProfile : uint8_t { PROFILE_STRICT = 0, PROFILE_DEFAULT = 1, PROFILE_DEBUG = 2 };

/** Template: a process that agents are forked from. Forked: one of these. */
enum PlanRole : uint8_t { ROLE_PLAIN = 0, ROLE_TEMPLATE = 1, ROLE_FORKED = 2 };

/** Of: whoever the kernel runs as, or, where that is root of the host, the agent's own user. */
enum PlanUserns : uint8_t { USERNS_NONE = 0, USERNS_OF_KERNEL = 1, USERNS_OF_AGENT = 2 };

struct Plan {
  uint32_t magic;
  uint32_t size;
  uint64_t disable;  // bits of layers
  uint64_t require;
  uint64_t namespaces;  // CLONE_NEW* that clove-init makes itself (user namespace mode), else 0
  uint32_t uid, gid;
  uint8_t profile;
  uint8_t hostNetwork;
  uint8_t role;
  uint8_t userns;    // no privilege on the host: everything happens in a user namespace of its own (USERNS_*)
  uint8_t noPivot;   // pivot_root is refused here
  uint8_t prepared;  // made ahead: what belongs to one agent comes later, with a plan of its own (M_ORDER)
  uint8_t furnished;  // made for one agent before it is asked for: what it runs comes with gate 2
  uint32_t hostUid, hostGid;
  uint8_t faultStep;
  int32_t faultErrno;
  uint32_t hostname;
  uint32_t passwd, group, hosts, resolv, nsswitch;  // contents of these files
  uint32_t localtime;                               // target of the link, absent = none
  uint64_t tmpfsBytes, tmpfsInodes;
  uint64_t fileSizeBytes;  // ~0 = no limit
  uint64_t maxOpenFiles;
  uint64_t maxProcesses;  // RLIMIT_NPROC, ~0 = leave
  uint32_t pidsError;     // why no group limits them, 0 = one does
  uint32_t bpf, bpfCount;
  uint32_t mounts, mountCount;
  uint32_t attachCount;  // descriptors of cgroup v1 "tasks" files, after those of the mounts
  uint32_t netnsGiven;   // 1: one more descriptor, a network namespace to enter, with lo up
  Command command;
};
constexpr uint32_t PLAN_MAGIC = 0x434c5650;
/** In place of an errno of fault injection: the kernel process is to end at this step as by kill -9. */
constexpr int32_t FAULT_DEATH = 4095;

enum MessageKind : uint32_t {
  // parent → clove-init
  M_GATE1 = 1,
  M_GATE2,  // of one that is furnished with descriptors: what to run (a Command), the agent's 0, 1, 2
  M_EXEC,
  M_EXEC_KILL,
  M_OPEN,
  M_ORDER,  // descriptors: a plan, the agent's 0, 1, 2, one per mount; to PID 1 of an agent of a template also its control socket
  // clove-init → parent
  M_STAGE2,
  M_PREPARED,
  M_FAILED,
  M_READY,
  M_AT_STEP,  // it has come to the step where the kernel process is to end
  M_STARTED,
  M_EXEC_FAILED,
  M_MAIN_EXITED,
  M_EXEC_STARTED,
  M_EXEC_EXITED,
  M_OPENED,
};

struct Message {
  uint32_t kind;
  uint32_t op;       // of M_EXEC*, M_OPEN*; KiB of the largest process in M_MAIN_EXITED
  int32_t error;     // errno, else 0
  int32_t status;    // wait status; signal of M_EXEC_KILL; open flags of M_OPEN
  uint32_t step;     // of M_FAILED; mode of M_OPEN
  uint64_t wallUs;
  char text[MAX_PATH];  // path of M_OPEN, detail of M_FAILED; only as much as needed is sent
};
constexpr uint32_t MESSAGE_HEAD = __builtin_offsetof(Message, text);

// When each part of the making was over; of a prepared sandbox, those after the order.
enum Stamp : uint8_t { T_GROUPS, T_ROOT, T_FILES, T_RIGHTS, T_FILTERS, STAMP_COUNT };

// M_READY: what clove-init read back about itself, after everything was dropped.
struct Ready {
  uint32_t kind;
  int32_t landlockAbi;
  uint64_t onMask;
  uint64_t stampUs[STAMP_COUNT];
  LayerResult layers[LAYER_COUNT];
};

}  // namespace clove
