import { expect } from 'vitest';
import type { Answer, TestClient } from '../../kernel/fixture.ts';

/** What the rows of one family are about. */
export interface Scene {
  readonly operator: TestClient;
  /** Id of the operator's own connection. */
  readonly operatorId: number;
  /** A connection of an agent that holds the level `standard`. */
  readonly agent: TestClient;
  readonly agentId: number;
  /** A connection of an agent that may call nothing. */
  readonly stranger: TestClient;
  readonly strangerId: number;
  /** On the host; of this test alone. */
  readonly folder: string;
  /** Where an HTTP server answers 418 with a body and a header. */
  readonly serverUrl: string;
  readonly relayUrl: string;
  /** What earlier rows answered, by what they are called. */
  readonly saved: Map<string, Answer>;
}

type Plain = string | number | readonly unknown[] | Readonly<Record<string, unknown>>;

/** One request and what its answer must have. */
export interface Row {
  readonly opcode: number;
  /** Whose generation or document asks like this, or what the request is. */
  readonly what: string;
  /** An object is sent as JSON, text as it is. */
  readonly send: Plain | ((scene: Scene) => Plain);
  /**
   * Members that must be there and equal; `any.…` for what differs from run to run. A text: the answer's bytes.
   * A function asserts by itself.
   */
  readonly expect: string | Readonly<Record<string, unknown>> | ((answer: Answer, scene: Scene) => void);
  /** Default: the operator. */
  readonly as?: 'agent' | 'stranger';
  readonly save?: string;
}

export function row(
  opcode: number,
  what: string,
  send: Row['send'],
  expected: Row['expect'],
  more: Pick<Row, 'as' | 'save'> = {},
): Row {
  return { opcode, what, send, expect: expected, ...more };
}

/** An error as the protocol has it: these words, or these and then what went wrong. */
export function failure(text: string, fields: Record<string, unknown> = {}) {
  const begin = new RegExp(`^${RegExp.escape(text)}(:|$)`);
  return { success: false, error: expect.stringMatching(begin), ...fields };
}
