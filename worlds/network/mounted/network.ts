import { lstatSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { makeWorldNetwork, type SandboxMount, type WorldNetworkSpace } from '../../../native/index.ts';
import type { NetworkCaller } from '../types.ts';
import type { VirtualNetwork } from '../virtual.ts';
import { type AgentAddress, createNameTable, type NameTable } from './addresses.ts';
import type { Authority } from './authority.ts';
import { connectInside, Gateway } from './gateway.ts';

const BUNDLE = 'ca-certificates.crt';
/** Where systems keep what they trust, and a place that can always be made. */
const TRUST_FOLDER = '/etc/ssl/certs';
const OWN_FOLDER = '/etc/clove-world/certs';

/** What one agent of a world gets of its network. */
export interface AgentNetwork {
  /** Network namespace to start it in; used again for every restart. */
  readonly netnsFd: number;
  readonly address: AgentAddress;
  /** Content of /etc/resolv.conf. */
  readonly resolv: string;
  readonly mounts: readonly SandboxMount[];
  readonly env: Readonly<Record<string, string>>;
  /** Evidence for the isolation report. */
  readonly how: string;
  close(): Promise<void>;
}

/** The network of a world for real processes: one namespace and gateway per agent, so that every request has a sender. */
export class MountedNetwork {
  readonly network: VirtualNetwork;
  readonly #names: NameTable;
  readonly #authority: Authority;
  readonly #folder: string;
  readonly #agents = new Map<number, { readonly space: WorldNetworkSpace; readonly gateway: Gateway }>();

  private constructor(network: VirtualNetwork, authority: Authority, folder: string) {
    this.network = network;
    this.#authority = authority;
    this.#folder = folder;
    this.#names = createNameTable(network.config, network.declaredHosts);
  }

  /** `folder`: on the host, private to the kernel, made and removed here. @throws IO */
  static async open(network: VirtualNetwork, authority: Authority, folder: string): Promise<MountedNetwork> {
    await mkdir(folder, { recursive: true, mode: 0o755 });
    await Promise.all([
      writeFile(path.join(folder, BUNDLE), authority.pem, { mode: 0o644 }),
      symlink(BUNDLE, path.join(folder, authority.linkName)),
    ]);
    return new MountedNetwork(network, authority, folder);
  }

  /** The authority's certificate, PEM. */
  get certificate(): string {
    return this.#authority.pem;
  }

  get names(): NameTable {
    return this.#names;
  }

  /** @throws SANDBOX_UNAVAILABLE */
  async attach(agent: NetworkCaller): Promise<AgentNetwork> {
    const address = this.#names.addAgent(agent.agentId, agent.agentName);
    try {
      const space = await makeWorldNetwork({
        address4: address.v4,
        address6: address.v6,
        ports: this.#names.ports,
      });
      const gateway = await Gateway.open({
        network: this.network,
        names: this.#names,
        authority: this.#authority,
        caller: agent,
        space,
        connectToAgent: (target, port) => this.#connect(target, port),
      });
      this.#agents.set(agent.agentId, { space, gateway });
      return this.#partOf(agent, address, space);
    } catch (error) {
      this.#names.removeAgent(agent.agentId);
      throw error;
    }
  }

  async detach(agentId: number): Promise<void> {
    const attached = this.#agents.get(agentId);
    if (attached === undefined) return;
    this.#agents.delete(agentId);
    this.#names.removeAgent(agentId);
    await attached.gateway.close();
    attached.space.close();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#agents.keys()].map((agentId) => this.detach(agentId)));
    await rm(this.#folder, { recursive: true, force: true });
  }

  #connect(target: AgentAddress, port: number) {
    const attached = this.#agents.get(target.agentId);
    if (attached === undefined) throw new Error(`${target.agentName} has left`);
    return connectInside(attached.space, target, port);
  }

  #partOf(agent: NetworkCaller, address: AgentAddress, space: WorldNetworkSpace): AgentNetwork {
    const bundle = `${OWN_FOLDER}/${BUNDLE}`;
    const reach =
      space.anyFd === null
        ? `connections to the ports ${space.listeners.map(([port]) => port).join(' ')} answered by its gateway (${space.reason})`
        : 'connections to every port answered by its gateway';
    return {
      netnsFd: space.netnsFd,
      address,
      resolv: 'nameserver 127.0.0.1\noptions timeout:5 attempts:2\n',
      mounts: [...(isFolder(TRUST_FOLDER) ? [TRUST_FOLDER] : []), OWN_FOLDER].map((target) => ({
        source: this.#folder,
        target,
        readonly: true,
      })),
      env: trustEnvironment(bundle, OWN_FOLDER),
      how: `network of a world: only lo, every address local, no route out; ${reach}`,
      close: () => this.detach(agent.agentId),
    };
  }
}

/** On the host, and so inside: what is not there cannot be mounted over, the system's folders being read-only. */
function isFolder(place: string): boolean {
  return lstatSync(place, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Most programs look into /etc/ssl/certs; these bring a list of their own, or may be told where theirs is. */
function trustEnvironment(bundle: string, folder: string): Record<string, string> {
  return {
    SSL_CERT_FILE: bundle,
    SSL_CERT_DIR: folder,
    REQUESTS_CA_BUNDLE: bundle,
    CURL_CA_BUNDLE: bundle,
    NODE_EXTRA_CA_CERTS: bundle,
    GIT_SSL_CAINFO: bundle,
    PIP_CERT: bundle,
    NPM_CONFIG_CAFILE: bundle,
    CARGO_HTTP_CAINFO: bundle,
    AWS_CA_BUNDLE: bundle,
    DENO_CERT: bundle,
  };
}
