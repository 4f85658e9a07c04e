import { SyscallClient } from './syscall-client.ts';
import type { CallOptions, SyscallRequest, SyscallResponse } from './types.ts';

/** The kernel's tunnel to a relay, for operators' clients. */
export class TunnelClient extends SyscallClient {
  /** Answers when the relay has let the kernel in. @throws UNREACHABLE, TIMEOUT, BAD_REQUEST */
  connectTunnel(
    request: SyscallRequest<'TUNNEL_CONNECT'> = {},
    options?: CallOptions,
  ): Promise<SyscallResponse<'TUNNEL_CONNECT'>> {
    return this.call('TUNNEL_CONNECT', request, options);
  }

  async disconnectTunnel(options?: CallOptions): Promise<void> {
    await this.call('TUNNEL_DISCONNECT', {}, options);
  }

  tunnelStatus(options?: CallOptions): Promise<SyscallResponse<'TUNNEL_STATUS'>> {
    return this.call('TUNNEL_STATUS', {}, options);
  }

  /** Agents that are connected through the relay. */
  async remoteAgents(options?: CallOptions): Promise<SyscallResponse<'TUNNEL_LIST_REMOTES'>['agents']> {
    return (await this.call('TUNNEL_LIST_REMOTES', {}, options)).agents;
  }

  /** Defaults of connectTunnel(), and what remote agents are given. Without a request it only tells. */
  configureTunnel(
    request: SyscallRequest<'TUNNEL_CONFIG'> = {},
    options?: CallOptions,
  ): Promise<SyscallResponse<'TUNNEL_CONFIG'>> {
    return this.call('TUNNEL_CONFIG', request, options);
  }
}
