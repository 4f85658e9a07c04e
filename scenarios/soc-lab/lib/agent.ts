import { type CloveClient, connect } from 'clove/sdk';
import type { LabMessage, LabRecord } from './messages.ts';

/** Every agent has a name, so who has none is an operator's client. */
export function isOperator(from: string): boolean {
  return from === '';
}

/** What every agent of the lab has: its connection, the world's time, and the auditor's ear. */
export class LabAgent {
  readonly name: string;
  readonly clove: CloveClient;

  private constructor(name: string, clove: CloveClient) {
    this.name = name;
    this.clove = clove;
  }

  static async start(name: string): Promise<LabAgent> {
    const agent = new LabAgent(name, await connect());
    await agent.send('oracle', { ready: name });
    return agent;
  }

  /** ms since the epoch, in world time. */
  async nowMs(): Promise<number> {
    return (await this.clove.waitInWorld({ ms: 0 })).world_time_ms;
  }

  async send(to: string, message: LabMessage | Readonly<Record<string, unknown>>): Promise<void> {
    await this.clove.send(to, message);
  }

  async record(
    what: string,
    incidentId: string | null,
    detail: LabRecord['detail'] = {},
    atMs?: number,
  ): Promise<void> {
    const record: LabRecord = {
      atMs: Math.round(atMs ?? (await this.nowMs())),
      agent: this.name,
      what,
      incidentId,
      detail,
    };
    await this.send('auditor', { type: 'record', record });
  }

  /**
   * A service of the lab. Answers null where it fails twice: the network of a world may be made to.
   * @returns the JSON of the answer
   */
  async service<T>(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    url: string,
    body?: unknown,
  ): Promise<{ readonly status: number; readonly json: T } | null> {
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        const answer = await this.clove.http(url, {
          method,
          ...(body === undefined
            ? {}
            : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
        });
        if (answer.status_code < 500)
          return { status: answer.status_code, json: JSON.parse(answer.body || 'null') as T };
      } catch {
        // Once more, then it is the caller's turn to do without.
      }
    }
    return null;
  }

  /** Every message of the lab, with who sent it. */
  async *messages(): AsyncGenerator<{ readonly message: LabMessage; readonly from: string }> {
    for await (const { message, from_name } of this.clove.messages())
      if (typeof message === 'object' && message !== null && 'type' in message)
        yield { message: message as LabMessage, from: from_name };
  }
}
