import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

/** A file, and words in it. */
type Place = readonly [string, string];

/**
 * What the kernels before this one got wrong, and the test that would catch it here: by group and number, what it was, where
 * the test is, and words of its title. Worlds and the sandbox's own walls have their tests in worlds/ and native/.
 */
const MISTAKES: readonly (readonly [string, string, ...Place[]])[] = [
  // Crashes and hangs that any local client could bring about.
  [
    '1.1',
    'an exception of a handler ends the process',
    ['kernel/dispatch.test.ts', 'is an answer and a log line, never the end of the kernel'],
  ],
  [
    '1.2',
    'JSON of the wrong type ends the process',
    ['kernel/syscalls/hostile-requests.test.ts', 'whatever is sent, a typed answer comes'],
    ['kernel/dispatch.test.ts', 'answers every odd payload with one typed answer'],
  ],
  [
    '1.3',
    'output that is not UTF-8 ends the process',
    ['kernel/syscalls/exec.test.ts', 'with output that is not text answers all the same'],
    ['kernel/syscalls/http.test.ts', 'with bytes that are not text, both ways'],
  ],
  [
    '1.4',
    'an error of the relay is read as a result',
    ['kernel/tunnel/tunnel.test.ts', 'a relay that refuses the token is an error of the call'],
    ['kernel/tunnel/tunnel.test.ts', 'nonsense of every kind ends nothing'],
  ],
  [
    '1.5',
    'a client that leaves kills by SIGPIPE',
    ['native/wire.test.ts', 'that were sent before the peer left are still served'],
    ['native/wire.test.ts', 'of a half-closed peer are answered'],
  ],
  [
    '1.6',
    'bad magic or a length too large: buffers that grow',
    ['native/wire-hostile.test.ts', 'do not disturb other clients'],
    ['native/wire-hostile.test.ts', 'an announced length of %s is answered with an error'],
    ['native/wire-hostile.test.ts', 'end the connection when nothing more comes'],
  ],
  [
    '1.7',
    'a slow call stops everybody',
    ['kernel/syscalls/exec.test.ts', 'does not hold up anybody else'],
    ['kernel/syscalls/files.test.ts', 'is never made to wait by a FIFO'],
    ['kernel/syscalls/http.test.ts', 'holds up nobody else'],
  ],
  [
    '1.8',
    'time limits are ignored, workers run out',
    ['kernel/syscalls/exec.test.ts', 'is ended by its time limit, with all it started'],
    ['kernel/syscalls/async.test.ts', 'that would never end are ended by their time limit'],
  ],
  [
    '1.9',
    'KILL waits on the one thread',
    ['test/conformance/lifecycle.test.ts', 'a KILL that takes its time holds up nobody'],
    ['kernel/syscalls/agents.test.ts', 'comes for the whole tree, also for what ignores SIGTERM'],
  ],
  [
    '1.11',
    'the tunnel blocks everybody',
    ['kernel/tunnel/tunnel.test.ts', 'a relay that says nothing holds up who asked for it, and nobody else'],
  ],
  [
    '1.12',
    'a model that died is never asked again; answers of one caller reach another',
    ['kernel/llm/openai-compatible.test.ts', 'may have cost something where it hung up without an answer'],
    ['kernel/llm/service.test.ts', 'drops what waits or runs for a caller that is gone'],
    ['kernel/llm/fair-queue.test.ts', 'goes on when work fails'],
  ],
  [
    '1.13',
    'a second kernel steals the socket',
    ['kernel/kernel.test.ts', 'is the only one of its data directory and of its socket'],
    ['native/wire-listen.test.ts', 'refuses a socket that somebody serves'],
  ],
  [
    '1.14',
    'queues without bounds',
    ['kernel/syscalls/ipc.test.ts', 'a full mailbox tells the sender'],
    ['kernel/syscalls/events.test.ts', 'who never polls costs a bounded queue'],
    ['kernel/syscalls/async.test.ts', 'are bounded: OVERLOAD'],
    ['kernel/ipc/mailboxes.test.ts', 'frees everything of a principal that is gone'],
    ['kernel/syscalls/recording.test.ts', 'pause at the limit, count what is lost'],
  ],

  // Missing authority.
  [
    '2.1',
    'SPAWN, KILL, PAUSE and any interpreter for anybody',
    ['kernel/permissions/spawn.test.ts', 'ends, stops and reads its own children and nobody else'],
    ['kernel/syscalls/permissions.test.ts', 'hangs on a switch'],
    ['kernel/permissions/spawn.test.ts', 'spawn.interpreter'],
  ],
  [
    '2.2',
    'any agent makes itself unrestricted',
    ['kernel/syscalls/permissions.test.ts', 'of an agent on itself only ever takes away'],
    ['kernel/syscalls/permissions.test.ts', 'on a sibling, on ids to come is refused'],
    ['kernel/syscalls/permissions.test.ts', 'does not begin the counting of anything anew'],
  ],
  [
    '2.3',
    'a custom object loses what is usually blocked',
    ['kernel/permissions/path-rules.test.ts', 'keeps what is usually blocked'],
  ],
  [
    '2.4',
    'no check of tunnel, audit, replay, metrics, state',
    ['kernel/tunnel/tunnel.test.ts', 'are for operators: no agent points the tunnel elsewhere'],
    ['kernel/syscalls/audit.test.ts', 'is the operator’s alone'],
    ['kernel/syscalls/recording.test.ts', 'are the operator’s alone'],
    ['kernel/syscalls/metrics.test.ts', 'nothing of others or of the machine'],
    ['kernel/syscalls/state.test.ts', 'what an agent keeps for itself, no other can read'],
  ],
  [
    '2.5',
    'the claim that every syscall is checked',
    ['kernel/syscalls/permissions.test.ts', 'is checked: who is granted none is refused all else'],
  ],
  [
    '2.6',
    'nobody is known: no credentials, inherited descriptors',
    ['kernel/dispatch.test.ts', 'is known by its socket, holds its own things only'],
    ['kernel/kernel.test.ts', 'hears only users it was told of'],
    ['native/sandbox-walls.test.ts', 'inherits neither variables nor descriptors of the kernel'],
  ],

  // Checks that can be got round.
  [
    '3.1',
    '`*` that does not cross folders misses what is deep',
    ['kernel/permissions/path-rules.test.ts', 'what every bounded level blocks'],
    ['kernel/permissions/glob.test.ts', 'agrees with a regular expression'],
  ],
  [
    '3.2',
    '`..` makes every rule fail',
    ['kernel/permissions/permissions.test.ts', 'takes a relative path for what it is to the caller'],
    ['kernel/syscalls/permissions.test.ts', 'are those that are really opened, whatever links there are'],
  ],
  [
    '3.3',
    'links and races',
    ['kernel/syscalls/permissions.test.ts', 'cannot be changed between the look and the deed'],
    ['kernel/syscalls/files.test.ts', 'cannot make the kernel follow a link'],
  ],
  ['3.4', 'what the list forgot', ['kernel/permissions/path-rules.test.ts', '/etc/passwd-']],
  [
    '3.5',
    'commands as substrings',
    ['kernel/permissions/commands.test.ts', 'a list of granted commands'],
    ['kernel/permissions/commands.test.ts', 'a list of blocked commands'],
    [
      'kernel/syscalls/permissions.test.ts',
      'are run by their argv, inside, and nothing an agent has can pass for them',
    ],
  ],
  ['3.6', 'the folder as a piece of shell', ['kernel/syscalls/exec.test.ts', 'takes cwd and argv as data']],
  [
    '3.7',
    'HTTP as a piece of shell',
    ['kernel/syscalls/http.test.ts', 'never goes through a shell or a config'],
    ['kernel/permissions/hosts.test.ts', 'a list of methods'],
  ],
  [
    '3.8',
    'URLs that are other than they look',
    ['kernel/http/target.test.ts', 'the host that is judged is the host that is asked'],
    [
      'kernel/http/client.test.ts',
      'are resolved once per hop and connected to, whatever the name says later',
    ],
    ['kernel/syscalls/http.test.ts', 'does not reach this machine or its networks by a grant for every host'],
  ],
  [
    '3.9',
    'a status that is always 200',
    ['kernel/syscalls/http.test.ts', 'answers what existing clients read, with the real status'],
    ['test/conformance/core-rows.ts', 'status, headers and body are the server’s'],
  ],
  [
    '3.10',
    'whoever does not report uses nothing',
    ['kernel/llm/service.test.ts', 'answers an agent with what the provider said and counted'],
    ['kernel/syscalls/llm.test.ts', 'counts a call and its tokens, also beyond the quota and without tokens'],
  ],

  // Identity and the life of agents.
  [
    '5.1',
    'two kinds of ids for one thing',
    ['kernel/dispatch.test.ts', 'is answered under the caller’s own id'],
    ['test/conformance/exchange-rows.ts', 'SEND to a spawned agent’s id'],
    ['kernel/syscalls/metrics.test.ts', 'an agent sees itself with true counters'],
  ],
  [
    '5.2',
    'a paused agent cannot be killed',
    ['kernel/syscalls/agents.test.ts', 'ends a paused agent'],
    ['native/sandbox-hosts.test.ts', 'kills while frozen'],
  ],
  [
    '5.3',
    'what was killed comes back',
    ['kernel/syscalls/agents.test.ts', 'cancels a restart that is pending, and the policy with it'],
    ['kernel/crash.test.ts', 'nothing comes back that was ended'],
  ],
  [
    '5.4',
    'the policy of one that was before',
    ['test/conformance/lifecycle.test.ts', 'not that of one of its name before'],
  ],
  [
    '5.5',
    'given up for ever',
    ['test/conformance/lifecycle.test.ts', 'is spawned by hand and restarts again, in the same window'],
  ],
  [
    '5.6',
    'an end that nobody hears of',
    ['kernel/syscalls/agents.test.ts', 'is an event also when it was natural'],
    ['kernel/syscalls/audit.test.ts', 'restarts, kills, changes of permissions'],
  ],
  [
    '5.7',
    'a restart that cannot start is dropped',
    ['test/conformance/lifecycle.test.ts', 'a restart that cannot start is tried again'],
  ],
  [
    '5.8',
    'a clean exit is a failure',
    ['kernel/agents/supervisor.test.ts', 'lets a clean exit be the end under on-failure'],
  ],
  [
    '5.9',
    'another id after a restart',
    ['kernel/agents/supervisor.test.ts', 'under its id, name and mailbox'],
    ['kernel/agents/fleet.test.ts', 'are started again under their id and name'],
  ],
  [
    '5.10',
    'what is left of a connection',
    ['kernel/syscalls/events.test.ts', 'subscriptions of a client go with its connection'],
    ['kernel/syscalls/async.test.ts', 'end with the connection of an operator'],
    ['kernel/syscalls/state.test.ts', 'what a client keeps for itself goes with its connection'],
    ['kernel/permissions/permissions.test.ts', 'others of it are not touched'],
  ],
  [
    '5.11',
    'names for the taking, and names of the dead',
    ['kernel/syscalls/ipc.test.ts', 'a name belongs to its holder until the holder is gone'],
    ['kernel/ipc/names.test.ts', 'lets go of every name of a principal, not only of the newest'],
    ['kernel/syscalls/ipc.test.ts', 'an agent’s own name is its own'],
  ],

  // State, messages, events, audit, recording.
  [
    '6.1',
    'a key that is called like another’s own',
    [
      'kernel/state/state-store.test.ts',
      'keeps what is private from everybody else, whatever a key is called',
    ],
    ['kernel/state/state-store.test.ts', 'prefers the caller’s own key to a global one'],
  ],
  [
    '6.2',
    'prefixes, sessions, persistence, limits, deletions',
    ['kernel/state/state-store.test.ts', 'lists by prefix over all scopes'],
    ['kernel/state/state-store.test.ts', 'ends the session scope with the process'],
    ['kernel/state/durability.test.ts', 'loses no acknowledged write to kill -9'],
    ['kernel/state/state-store.test.ts', 'bounds values, the keys and bytes of one caller'],
    ['kernel/syscalls/state.test.ts', 'changes of the global scope are told'],
  ],
  [
    '6.3',
    'messages to nobody, without bounds, without waiting',
    ['kernel/syscalls/ipc.test.ts', 'nobody can send to an id or name that does not exist'],
    ['kernel/syscalls/ipc.test.ts', 'a receiver that waits holds up nobody else'],
    ['kernel/syscalls/ipc.test.ts', 'a broadcast reaches everybody with a name'],
  ],
  [
    '6.4',
    'the name of an event is lost; who sent it is not known',
    ['kernel/syscalls/events.test.ts', 'a custom event keeps the name'],
    ['test/conformance/exchange-rows.ts', 'EMIT, every client: event_type'],
    ['kernel/syscalls/ipc.test.ts', 'only the receiver is told that a message came'],
  ],
  [
    '6.5',
    'time since the machine was started',
    ['kernel/events/event-bus.test.ts', 'with the wall-clock time'],
    ['test/conformance/exchange-rows.ts', 'On the wall clock'],
  ],
  [
    '6.6',
    'an audit log of some things, in memory, that hides its own end',
    ['kernel/syscalls/audit.test.ts', 'allow and deny, with subject, object, rule and policy'],
    ['kernel/audit/durability.test.ts', 'whatever was acknowledged before kill -9 is stored and recorded'],
    ['kernel/syscalls/audit.test.ts', 'also the one that switches security off'],
  ],
  [
    '6.7',
    'recordings of nothing, replays of nothing, secrets in both',
    ['kernel/recording/replay.test.ts', 'times over, in other folders, time zones, locales and processes'],
    ['kernel/recording/replay.test.ts', 'stops an edited agent at its first other call'],
    ['kernel/syscalls/recording.test.ts', 'holds no planted secret'],
  ],
  [
    '6.8',
    'names of fields that clients do not find',
    ['test/conformance/evidence-rows.ts', 'as text, under both names'],
    ['kernel/syscalls/recording.test.ts', 'have every field that existing clients look for'],
  ],
  [
    '6.9',
    'ids of calls that meet',
    ['kernel/async/tasks.test.ts', 'have ids that never meet'],
    ['kernel/syscalls/async.test.ts', 'belong to their caller: others can neither see nor guess them'],
  ],

  // Metrics.
  [
    '8.1',
    'figures of agents that are always 0',
    ['kernel/syscalls/metrics.test.ts', 'an agent sees itself with true counters'],
    ['kernel/syscalls/agents.test.ts', 'is how an agent’s figures count, NOOPs included'],
  ],
  [
    '8.2',
    'everything is called sandboxed',
    ['kernel/syscalls/metrics.test.ts', 'an agent that runs without a sandbox is not called sandboxed'],
  ],
  [
    '8.3',
    'numbers that nobody wrote',
    ['kernel/metrics/cgroup.test.ts', 'says that there is none instead of reporting zeros'],
  ],
  [
    '8.4',
    'paths that lead out',
    ['kernel/syscalls/metrics.test.ts', 'METRICS_CGROUP reads nothing at'],
    ['test/conformance/agent-rows.ts', 'METRICS_CGROUP does not leave its place'],
  ],
  [
    '8.5',
    'a share since anybody asked',
    ['kernel/metrics/sample-window.test.ts', 'gives all who ask in one window the same figures'],
  ],
  ['8.6', 'the first process only', ['kernel/metrics/metrics.test.ts', 'are sums over all of its processes']],
  ['8.7', 'states in the wrong case', ['test/conformance/agent-rows.ts', 'LIST: its state is lower case']],
  [
    '8.8',
    'disks whose names end in a digit',
    ['kernel/metrics/proc-text.test.ts', 'also those whose names end in a digit'],
  ],
];

const root = path.join(import.meta.dirname, '../..');

it.each(MISTAKES.map(([number, what, ...places]) => [number, what, places] as const))(
  '%s %s: would be caught',
  (_number, _what, places) => {
    expect(places.length).toBeGreaterThan(0);
    for (const [file, words] of places) {
      expect(readFileSync(path.join(root, file), 'utf8'), file).toContain(words);
    }
  },
);

it('none is left out', () => {
  const numbers = (group: number, count: number) =>
    Array.from({ length: count }, (_, index) => `${group}.${index + 1}`);
  // 1.10 and 2.7 are about worlds.
  const all = [
    ...numbers(1, 14).filter((each) => each !== '1.10'),
    ...numbers(2, 6),
    ...numbers(3, 10),
    ...numbers(5, 11),
    ...numbers(6, 9),
    ...numbers(8, 8),
  ];
  expect(MISTAKES.map(([number]) => number)).toEqual(all);
});
