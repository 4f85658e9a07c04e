import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CloveError } from '../errors/index.ts';
import { agentRequest, type DesiredAgent } from './request.ts';
import {
  type AgentEntry,
  type FleetFile,
  fleetSchema,
  type GroupEntry,
  groupSchema,
  keysAt,
} from './schema.ts';
import { YamlSource } from './source.ts';
import { nearest } from './suggest.ts';

export interface DesiredGroup extends GroupEntry {
  readonly name: string;
  /** Place among the members of its parent. */
  readonly order: number;
}

/** A fleet as its file describes it, complete and sound. */
export interface FleetDefinition {
  readonly name: string;
  /** Absolute. */
  readonly file: string;
  readonly llm: NonNullable<FleetFile['llm']> | null;
  /** Parents first. */
  readonly groups: readonly DesiredGroup[];
  /** Each after those that it needs. */
  readonly agents: readonly DesiredAgent[];
  /** Scripts and whatever else the agents are made from. Absolute paths. */
  readonly watched: readonly string[];
}

export const DEFAULT_FILES = ['clove.yaml', 'clove.yml'] as const;

/** @throws CONFIG with `details.problems`, each with line and column; NOT_FOUND */
export function loadFleet(file: string, env: Readonly<Record<string, string | undefined>>): FleetDefinition {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new CloveError(
      'NOT_FOUND',
      `cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
        hint: 'Name the fleet file with --file.',
      },
    );
  }
  return parseFleet(file, text, env);
}

/** As loadFleet(), of a text. Relative paths are meant from the folder of the file. */
export function parseFleet(
  file: string,
  text: string,
  env: Readonly<Record<string, string | undefined>>,
): FleetDefinition {
  const source = new YamlSource(path.relative(process.cwd(), path.resolve(file)) || file, text);
  source.assertSound();
  const parsed = fleetSchema.safeParse(source.value);
  if (!parsed.success) source.reportIssues(parsed.error.issues, keysAt);
  source.assertSound();
  const data = parsed.data as FleetFile;
  const groups = new Map(
    Object.entries(data.groups ?? {}).map(([name, group]) => [name, group ?? groupSchema.parse({})] as const),
  );
  checkGroups(source, groups);
  const members = expand(data);
  checkAgents(source, data, groups, members);
  source.assertSound();
  const sorted = sortAgents(source, members, groups);
  source.assertSound();
  const folder = path.dirname(path.resolve(file));
  const agents = sorted.map((member, order) => agentRequest(data, member, order, { folder, env, source }));
  source.assertSound();
  return {
    name: data.fleet,
    file: path.resolve(file),
    llm: data.llm ?? null,
    groups: sortGroups(groups, sorted),
    agents,
    watched: [...new Set([path.resolve(file), ...agents.flatMap(({ files }) => files)])],
  };
}

/** One agent, of maybe several with one entry. */
export interface Member {
  readonly name: string;
  /** Key in the file. */
  readonly key: string;
  readonly entry: AgentEntry;
  /** Names of agents. */
  readonly dependsOn: readonly string[];
}

function namesOf(key: string, { replicas }: AgentEntry): string[] {
  return replicas === undefined
    ? [key]
    : Array.from({ length: replicas }, (_, index) => `${key}-${index + 1}`);
}

/** Whoever depends on an entry with replicas depends on all of them. */
function expand({ agents }: FleetFile): Member[] {
  return Object.entries(agents).flatMap(([key, entry]) => {
    const dependsOn = (entry.depends_on ?? []).flatMap((other) => {
      const needed = agents[other];
      return needed === undefined ? [] : namesOf(other, needed);
    });
    return namesOf(key, entry).map((name) => ({ name, key, entry, dependsOn }));
  });
}

function checkGroups(source: YamlSource, groups: ReadonlyMap<string, GroupEntry>): void {
  for (const [name, { parent }] of groups) {
    if (parent === undefined) continue;
    if (!groups.has(parent))
      source.report(['groups', name, 'parent'], unknown('group', parent, groups.keys()));
    const seen = new Set([name]);
    for (let above: string | undefined = parent; above !== undefined; above = groups.get(above)?.parent) {
      if (seen.has(above)) {
        source.report(
          ['groups', name, 'parent'],
          `a group cannot be below itself: ${[...seen, above].join(' → ')}`,
        );
        break;
      }
      seen.add(above);
    }
  }
}

function checkAgents(
  source: YamlSource,
  { agents }: FleetFile,
  groups: ReadonlyMap<string, GroupEntry>,
  members: readonly Member[],
): void {
  const owners = new Map<string, string>();
  for (const { name, key } of members) {
    const other = owners.get(name);
    if (other !== undefined)
      source.report(['agents', key], `${name} is also the name of a replica of ${other}`, 'key');
    if (name.length > 64) source.report(['agents', key], `${name} is longer than 64`, 'key');
    owners.set(name, key);
  }
  for (const [key, entry] of Object.entries(agents)) {
    const at = ['agents', key];
    if ((entry.script === undefined) === (entry.command === undefined)) {
      source.report(at, 'expected either `script` or `command`', 'key');
    }
    if (entry.interpreter !== undefined && entry.language !== undefined) {
      source.report([...at, 'interpreter'], 'expected either `language` or `interpreter`', 'key');
    }
    if (entry.group !== undefined && !groups.has(entry.group)) {
      source.report([...at, 'group'], unknown('group', entry.group, groups.keys()));
    }
    for (const [index, other] of (entry.depends_on ?? []).entries()) {
      if (agents[other] === undefined) {
        source.report([...at, 'depends_on', index], unknown('agent', other, Object.keys(agents)));
      }
    }
  }
}

function unknown(kind: string, name: string, among: Iterable<string>): string {
  const meant = nearest(name, among);
  return `there is no ${kind} "${name}"${meant === null ? '' : `; did you mean "${meant}"?`}`;
}

/** Each after those it needs; otherwise as in the file. */
function sortAgents(
  source: YamlSource,
  members: readonly Member[],
  groups: ReadonlyMap<string, GroupEntry>,
): Member[] {
  const byName = new Map(members.map((member) => [member.name, member]));
  const sorted = new Set<Member>();
  const visit = (member: Member, above: readonly Member[]): boolean => {
    if (sorted.has(member)) return true;
    if (above.includes(member)) {
      const circle = [...above.slice(above.indexOf(member)), member].map(({ name }) => name).join(' → ');
      source.report(['agents', member.key, 'depends_on'], `would wait for itself: ${circle}`, 'key');
      return false;
    }
    for (const name of member.dependsOn) {
      const other = byName.get(name);
      if (other !== undefined && !visit(other, [...above, member])) return false;
    }
    sorted.add(member);
    return true;
  };
  // Members of one tree of groups stay together: groups with an order start one after the other.
  const rootOf = (name: string): string => {
    const parent = groups.get(name)?.parent;
    return parent === undefined ? name : rootOf(parent);
  };
  for (const member of members) {
    if (sorted.has(member)) continue;
    if (!visit(member, [])) break;
    const { group } = member.entry;
    if (group === undefined) continue;
    for (const other of members) {
      if (other.entry.group !== undefined && rootOf(other.entry.group) === rootOf(group)) visit(other, []);
    }
  }
  return [...sorted];
}

/** Parents first; each in the place of its first member. */
function sortGroups(groups: ReadonlyMap<string, GroupEntry>, agents: readonly Member[]): DesiredGroup[] {
  const isWithin = (group: string | undefined, name: string): boolean =>
    group !== undefined && (group === name || isWithin(groups.get(group)?.parent, name));
  const depthOf = (name: string): number => {
    const parent = groups.get(name)?.parent;
    return parent === undefined ? 0 : 1 + depthOf(parent);
  };
  return [...groups]
    .map(([name, group]) => {
      const first = agents.findIndex(({ entry }) => isWithin(entry.group, name));
      return { ...group, name, order: first < 0 ? agents.length : first };
    })
    .toSorted((a, b) => depthOf(a.name) - depthOf(b.name) || a.order - b.order);
}
