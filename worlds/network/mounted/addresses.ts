import { hostMatcher, parseHostPattern, plainHost } from '../patterns.ts';
import type { NetworkConfig } from '../schema.ts';

/** Where the names of a world are: made-up addresses, the same in both directions, so that connections by address find their host. */
export interface NameTable {
  /** Addresses of a name; null = there is no such name. */
  resolve(name: string): { readonly v4: readonly string[]; readonly v6: readonly string[] } | null;
  /** The name behind an address; null = nobody asked for one that is there. */
  nameOf(address: string): string | null;
  /** Gives an agent its name and addresses. */
  addAgent(agentId: number, agentName: string): AgentAddress;
  removeAgent(agentId: number): void;
  /** The agent at an address; null = none is there. */
  agentAt(address: string): AgentAddress | null;
  /** Ports that somebody declared, for machines where not every port can be caught. */
  readonly ports: readonly number[];
}

export interface AgentAddress {
  readonly agentId: number;
  readonly agentName: string;
  readonly v4: string;
  readonly v6: string;
}

/** Reserved for tests of networks (RFC 2544, RFC 5180): nothing real is there. */
const HOSTS_V4 = (198 << 24) | (18 << 16);
const HOSTS_V6 = '2001:2:0:';
const MOST_NAMES = 2 ** 17 - 2;
const AGENTS_V4 = (10 << 24) | (77 << 16);
/** What an agent's own name may also be followed by. */
const AGENT_DOMAIN = '.agents.internal';

const dotted = (number: number) =>
  [number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255].join('.');

/** One spelling per address: IPv4 inside of IPv6 is IPv4. */
export function plainAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  return URL.parse(`http://[${address.replace(/%.*$/, '')}]`)?.hostname.slice(1, -1) ?? address;
}

export function createNameTable(config: NetworkConfig, declared: readonly string[]): NameTable {
  const isMissing = config.dns.missing.length === 0 ? () => false : hostMatcher(config.dns.missing);
  // Whatever has an answer has a name.
  const answersAll = config.default_response != null || config.dns.unknown === 'answer';
  const isDeclared = answersAll ? () => true : hostMatcher(declared);
  const records = new Map(Object.entries(config.dns.records).map(([name, to]) => [plainHost(name), to]));
  const numbers = new Map<string, number>();
  const names = new Map<string, string>();
  const agents = new Map<string, AgentAddress>();
  const agentsByName = new Map<string, AgentAddress>();

  for (const [name, addresses] of records)
    for (const address of addresses) names.set(plainAddress(address), name);

  const numberOf = (name: string): number | null => {
    const known = numbers.get(name);
    if (known !== undefined) return known;
    if (numbers.size >= MOST_NAMES) return null;
    const number = numbers.size + 1;
    numbers.set(name, number);
    names.set(dotted((HOSTS_V4 + number) >>> 0), name);
    names.set(plainAddress(`${HOSTS_V6}:${number.toString(16)}`), name);
    return number;
  };
  // In the order of the definition, so that every run gives the same ones.
  for (const host of declared) {
    const pattern = parseHostPattern(host)?.host;
    if (pattern !== undefined && !pattern.includes('*') && !pattern.startsWith('[')) numberOf(pattern);
  }

  return {
    resolve(asked) {
      const name = plainHost(asked);
      const agent = agentsByName.get(
        name.endsWith(AGENT_DOMAIN) ? name.slice(0, -AGENT_DOMAIN.length) : name,
      );
      if (isMissing(name)) return null;
      if (agent !== undefined) return { v4: [agent.v4], v6: [agent.v6] };
      const fixed = records.get(name);
      if (fixed !== undefined)
        return {
          v4: fixed.filter((one) => !one.includes(':')),
          v6: fixed.filter((one) => one.includes(':')),
        };
      if (name === 'localhost') return { v4: ['127.0.0.1'], v6: ['::1'] };
      if (name === '' || parseHostPattern(name) === null || !isDeclared(name)) return null;
      const number = numberOf(name);
      if (number === null) return null;
      return {
        v4: [dotted((HOSTS_V4 + number) >>> 0)],
        v6: [plainAddress(`${HOSTS_V6}:${number.toString(16)}`)],
      };
    },
    nameOf: (address) =>
      names.get(plainAddress(address)) ?? agents.get(plainAddress(address))?.agentName ?? null,
    addAgent(agentId, agentName) {
      // By the order of coming, not by id: ids differ from run to run.
      let number = 1;
      const taken = new Set([...agentsByName.values()].map(({ v4 }) => v4));
      while (taken.has(dotted((AGENTS_V4 + number) >>> 0))) number += 1;
      const agent = {
        agentId,
        agentName,
        v4: dotted((AGENTS_V4 + number) >>> 0),
        v6: plainAddress(`fd77::${number.toString(16)}`),
      };
      agents.set(agent.v4, agent);
      agents.set(agent.v6, agent);
      agentsByName.set(plainHost(agentName), agent);
      return agent;
    },
    removeAgent(agentId) {
      for (const [address, agent] of agents) if (agent.agentId === agentId) agents.delete(address);
      for (const [name, agent] of agentsByName) if (agent.agentId === agentId) agentsByName.delete(name);
    },
    agentAt: (address) => agents.get(plainAddress(address)) ?? null,
    ports: portsOf(config, declared),
  };
}

function portsOf(config: NetworkConfig, declared: readonly string[]): number[] {
  const ports = new Set([80, 443, ...config.tcp.map(({ port }) => port)]);
  for (const host of declared) {
    const port = parseHostPattern(host)?.port;
    if (port != null && port !== 0) ports.add(port);
  }
  for (const url of Object.keys(config.mocks)) {
    const port = Number(URL.parse(url)?.port ?? '');
    if (port > 0) ports.add(port);
  }
  ports.delete(53);
  return [...ports];
}
