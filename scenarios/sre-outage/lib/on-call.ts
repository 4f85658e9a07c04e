/** What agents on call have in hand: the platform's services, the world's time, and each other. */
import { type CloveClient, connect } from 'clove/sdk';

export interface Incident {
  readonly id: number;
  readonly openedMs: number;
  readonly status: string;
}
export interface ObjectiveReport {
  readonly availability: number | null;
  readonly p95_ms: number | null;
  readonly promised: boolean;
  readonly objective: { readonly availability: number; readonly p95_ms: number };
}

export class OnCall {
  readonly name: string;
  readonly clove: CloveClient;

  private constructor(name: string, clove: CloveClient) {
    this.name = name;
    this.clove = clove;
  }

  static async start(name: string): Promise<OnCall> {
    const agent = new OnCall(name, await connect());
    await agent.clove.send('oracle', { ready: name });
    return agent;
  }

  /** JSON of a service; null where it refuses or cannot be reached. */
  async ask<T>(method: 'GET' | 'POST' | 'PATCH', url: string, body?: unknown): Promise<T | null> {
    try {
      const answer = await this.clove.http(url, {
        method,
        ...(body === undefined
          ? {}
          : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      });
      return answer.status_code < 400 ? (JSON.parse(answer.body || 'null') as T) : null;
    } catch {
      return null;
    }
  }

  slo(): Promise<ObjectiveReport | null> {
    return this.ask('GET', 'http://metrics.sre/slo');
  }

  async isOpen(incident: number): Promise<boolean> {
    const found = await this.ask<Incident>('GET', `http://pager.sre/incidents/${incident}`);
    return found?.status === 'triggered';
  }

  async sleep(ms: number): Promise<void> {
    await this.clove.waitInWorld({ ms });
  }

  /** Whether customers get what they were promised, and go on to for so long. */
  async staysWell(ms: number, everyMs = 20_000): Promise<boolean> {
    for (let waited = 0; waited < ms; waited += everyMs) {
      await this.sleep(everyMs);
      if ((await this.slo())?.promised !== true) return false;
    }
    return true;
  }
}
