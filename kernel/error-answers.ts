import { type ErrorCode, errorToData, isCloveError } from '../errors/index.ts';
import type { Connection } from './connections.ts';
import type { Kernel } from './kernel.ts';
import type { Decision } from './permissions/decision.ts';
import { decisionOf } from './permissions/refusal.ts';
import type { SyscallDefinition } from './syscalls/define.ts';

const BLOCKED_LOG_INTERVAL_MS = 1000;

export interface ErrorAnswer {
  readonly success: false;
  readonly error: string;
  readonly code: ErrorCode;
}

/** How calls that come to nothing are answered, counted and told of. */
export class ErrorAnswers {
  readonly #getKernel: () => Kernel;
  readonly #counters: { failed: number; blocked: number };

  constructor(getKernel: () => Kernel, counters: { failed: number; blocked: number }) {
    this.#getKernel = getKernel;
    this.#counters = counters;
  }

  get #kernel(): Kernel {
    return this.#getKernel();
  }

  /** What an error is answered with; a refusal is reported, and so is a fault. */
  answerTo(
    connection: Connection,
    opcode: number,
    definition: SyscallDefinition | undefined,
    error: unknown,
  ): ErrorAnswer {
    this.#counters.failed += 1;
    const isOperator = connection.caller.kind === 'operator';
    const { code, message, hint, details } = errorToData(error);
    const refusal = decisionOf(error);
    if (code === 'OVERLOAD' && connection.agent !== null) {
      this.#kernel.limits.overloaded(connection.agent.id, definition?.name ?? '', details);
    }
    if (refusal !== null && definition !== undefined) {
      this.#kernel.audit.denied(connection, definition, refusal, undefined);
      this.#reportBlocked(connection, definition, refusal, message);
    }
    if (!isCloveError(error)) {
      const syscall = definition?.name ?? `0x${hexByte(opcode)}`;
      this.#kernel.log.error({ err: error, syscall, caller: connection.caller.id }, 'fault in a syscall');
    }
    const { answer: fields, ...rest } = details ?? {};
    const shown = Object.keys(rest).length === 0 ? undefined : rest;
    const answer = {
      ...definition?.errorShape,
      ...(fields as Readonly<Record<string, unknown>> | undefined),
      success: false as const,
      // A fault's own words may tell an agent about the host.
      error: code === 'INTERNAL' && !isOperator ? 'internal error' : message,
      code,
      hint,
      // Which rule stood in its way an agent may know; the rest is the operator's.
      details: isOperator ? shown : details?.rule === undefined ? undefined : { rule: details.rule },
    };
    return answer;
  }

  /** Refused by dispatch or, where it takes a look at the world, by the handler: nobody needs to ask which. */
  #reportBlocked(
    connection: Connection,
    definition: SyscallDefinition,
    { ruleId, object }: Decision,
    error: string,
  ): void {
    const { caller } = connection;
    this.#counters.blocked += 1;
    const data = {
      agent_id: caller.id,
      name: connection.agent?.name ?? '',
      syscall: definition.name,
      opcode: definition.opcode,
      permission: definition.permission,
      rule: ruleId,
      object,
      error,
    };
    this.#kernel.events.publish('SYSCALL_BLOCKED', data, caller.id, 'operators');
    this.#logBlocked(connection, data);
  }

  /** An agent that tries for ever must not fill the operator's disk: at most one line in a while, with a count. */
  #logBlocked(connection: Connection, data: Readonly<Record<string, unknown>>): void {
    const now = performance.now();
    if (now - connection.blockedLoggedAtMs < BLOCKED_LOG_INTERVAL_MS) {
      connection.blockedUnlogged += 1;
      return;
    }
    this.#kernel.log.warn({ ...data, unlogged: connection.blockedUnlogged }, 'syscall blocked');
    connection.blockedLoggedAtMs = now;
    connection.blockedUnlogged = 0;
  }
}

export function hexByte(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, '0');
}
