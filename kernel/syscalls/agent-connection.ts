import { TestClient, type TestKernel } from '../fixture.ts';
import { RawClient } from '../wire/testing.ts';

/** For tests: a connection to the kernel as an agent whose process does nothing. */
export class AgentConnection extends TestClient {
  readonly id: number;
  readonly #kernel: TestKernel;

  private constructor(kernel: TestKernel, id: number, raw: RawClient) {
    super(raw);
    this.#kernel = kernel;
    this.id = id;
  }

  /** Spawns an idle agent and connects by the socket that is its own. */
  static async spawn(
    kernel: TestKernel,
    parent: TestClient,
    name: string,
    more: Record<string, unknown> = {},
  ): Promise<AgentConnection> {
    const { id } = await parent.spawn({ name, command: ['/bin/sleep', '600'], ...more });
    return AgentConnection.#connect(kernel, id);
  }

  static async #connect(kernel: TestKernel, id: number): Promise<AgentConnection> {
    const socketPath = kernel.running.kernel.launcher.socketPathOf(id);
    return new AgentConnection(kernel, id, await RawClient.connect(socketPath));
  }

  /** One more connection of the same agent. */
  again(): Promise<AgentConnection> {
    return AgentConnection.#connect(this.#kernel, this.id);
  }
}
