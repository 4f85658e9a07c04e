import { NOTHING } from './all-of.ts';
import { BLOCKED_COMMANDS, BLOCKED_PATHS } from './catalogue.ts';
import type { ChildBounds, Grants, Level } from './grants.ts';

/** What `~` stands for in the patterns of an agent: where its sandbox begins, whatever its environment says. */
export const AGENT_HOME = '/work';
const DEFAULT_EXEC_MS = 30_000;

export const NO_BOUNDS: ChildBounds = { maxAgents: null, memoryBytes: null, maxPids: null, cpu: null };

/** What an operator's client holds. */
export const EVERYTHING: Grants = {
  level: 'unrestricted',
  can: { exec: true, read: true, write: true, think: true, spawn: true, http: true },
  extra: [],
  syscalls: { allow: null, deny: [] },
  paths: { read: [], write: [], blocked: [] },
  commands: { allow: [], blocked: [] },
  http: { domains: [], methods: null, privateNetwork: false },
  llm: { maxTokens: 0, maxCalls: 0 },
  maxExecTimeMs: 0,
  children: NO_BOUNDS,
};

/** A leading `~` is the home, wherever the patterns go afterwards. */
export function expandHome(pattern: string, home: string): string {
  return pattern === '~' || pattern.startsWith('~/') ? `${home}${pattern.slice(1)}` : pattern;
}

/** The levels, for principals whose home is `home`. */
export function levelGrants(level: Level, home: string): Grants {
  return cache.getOrInsertComputed(`${level} ${home}`, () => makeLevel(level, home));
}

const cache = new Map<string, Grants>();

function makeLevel(level: Level, home: string): Grants {
  if (level === 'unrestricted') return EVERYTHING;
  const nothing = { exec: false, read: false, write: false, think: true, spawn: false, http: false };
  // All that an agent does inside its own sandbox, and nothing beyond it.
  const inside: Grants = {
    ...EVERYTHING,
    level,
    can: { ...nothing, exec: true, read: true, write: true },
    http: { domains: NOTHING, methods: [], privateNetwork: false },
  };
  const bounded: Grants = {
    ...inside,
    can: { ...nothing, read: true, write: true },
    paths: { read: [], write: [], blocked: BLOCKED_PATHS.map((pattern) => expandHome(pattern, home)) },
    commands: { allow: NOTHING, blocked: BLOCKED_COMMANDS },
    maxExecTimeMs: DEFAULT_EXEC_MS,
  };
  switch (level) {
    case 'default':
      return inside;
    case 'standard':
      return bounded;
    case 'sandboxed':
      return {
        ...bounded,
        paths: {
          ...bounded.paths,
          read: [['/tmp/**', '/home/**', `${home}/**`]],
          write: [['/tmp/**']],
        },
      };
    case 'readonly':
      return { ...bounded, can: { ...bounded.can, write: false } };
    case 'minimal':
      return { ...bounded, can: nothing };
  }
}
