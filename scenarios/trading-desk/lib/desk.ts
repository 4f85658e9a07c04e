/** What agents of the desk have in hand. */
import { type CloveClient, connect } from 'clove/sdk';

export interface Start {
  readonly type: 'start';
  /** ms after the world's start. */
  readonly beginMs: number;
  readonly endMs: number;
  readonly everyMs: number;
  /** When in each round who acts: no two at the same instant. ms */
  readonly phases: Readonly<Record<'officer' | 'trader' | 'auditor', number>>;
}
export interface Quote {
  readonly symbol: string;
  readonly bid: number;
  readonly ask: number;
  readonly size: number;
  readonly halted: boolean;
  readonly at_ms: number;
}
export interface OrderLine {
  readonly id: number;
  readonly client_id: string;
  readonly symbol: string;
  readonly side: 'buy' | 'sell';
  readonly limit: number | null;
  readonly filled: number;
  readonly status: string;
  readonly price: number | null;
}
export interface AccountLine {
  readonly account: string;
  readonly positions: Readonly<Record<string, number>>;
  readonly equity: number;
  readonly gross: number;
  readonly largest: number;
  readonly drawdown: number;
  readonly halted: boolean;
}

export const middleOf = ({ bid, ask }: Quote) => (bid + ask) / 2;

export class DeskAgent {
  readonly name: string;
  readonly clove: CloveClient;

  private constructor(name: string, clove: CloveClient) {
    this.name = name;
    this.clove = clove;
  }

  /** Says that it is ready, and waits for the oracle's word. */
  static async begin(name: string): Promise<{ readonly agent: DeskAgent; readonly start: Start }> {
    const agent = new DeskAgent(name, await connect());
    await agent.clove.send('oracle', { ready: name });
    for await (const { message, from_name } of agent.clove.messages()) {
      // Every agent has a name, so who has none is an operator.
      const said = message as Partial<Start>;
      if (from_name === '' && said.type === 'start') return { agent, start: said as Start };
    }
    throw new Error('nobody said that it begins');
  }

  async ask<T>(
    method: 'GET' | 'POST' | 'DELETE',
    url: string,
    body?: unknown,
  ): Promise<{ status: number; json: T | null }> {
    try {
      const answer = await this.clove.http(url, {
        method,
        ...(body === undefined
          ? {}
          : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      });
      return { status: answer.status_code, json: JSON.parse(answer.body || 'null') as T };
    } catch {
      return { status: 0, json: null };
    }
  }

  async quotes(): Promise<{ readonly nowMs: number; readonly quotes: readonly Quote[] }> {
    const { status, json } = await this.ask<{ now_ms: number; quotes: Quote[] }>(
      'GET',
      'http://exchange.test/quotes',
    );
    return status === 200 && json !== null
      ? { nowMs: json.now_ms, quotes: json.quotes }
      : { nowMs: 0, quotes: [] };
  }

  async waitUntil(ms: number): Promise<void> {
    await this.clove.waitInWorld({ untilMs: ms });
  }

  /** Every so often, from its phase on until the session is over. */
  async every(
    start: Start,
    role: keyof Start['phases'],
    everyMs: number,
    look: () => Promise<void>,
  ): Promise<void> {
    for (let dueMs = start.beginMs + start.phases[role]; dueMs < start.endMs; dueMs += everyMs) {
      await this.waitUntil(dueMs);
      await look();
    }
  }
}
