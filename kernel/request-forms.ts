import { CloveError } from '../errors/index.ts';
import type { WireRequest } from '../native/types.ts';
import type { SyscallDefinition } from './syscalls/define.ts';

/** From the bytes of a request to what its syscall takes. */
export class RequestForms {
  /** Syscalls that take no request: a payload that is not JSON is as good as none. */
  readonly #needNothing: boolean[] = [];

  constructor(table: ReadonlyMap<number, SyscallDefinition>) {
    for (const [opcode, { request }] of table)
      this.#needNothing[opcode] = request.safeParse(undefined).success;
  }

  /** @throws BAD_REQUEST */
  parse(definition: SyscallDefinition, request: WireRequest): unknown {
    if (definition.raw === true) return request.payload;
    const parsed = definition.request.safeParse(this.#parseJson(definition, request));
    if (parsed.success) return parsed.data;
    throw new CloveError('BAD_REQUEST', `invalid request: ${describeIssues(parsed.error.issues)}`);
  }

  #parseJson({ malformed }: SyscallDefinition, { opcode, payload, refused }: WireRequest): unknown {
    let reason = refused ?? (payload === '' ? 'the payload is empty' : null);
    if (reason === null) {
      try {
        return JSON.parse(payload);
      } catch (error) {
        reason = (error as Error).message;
      }
    }
    const isNothing = malformed === undefined || (payload === '' && refused === null);
    if (this.#needNothing[opcode] === true && isNothing) return undefined;
    const words = malformed ?? 'invalid request';
    // "invalid JSON: invalid JSON: …" says nothing more.
    throw new CloveError('BAD_REQUEST', reason.startsWith(words) ? reason : `${words}: ${reason}`);
  }
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** "limits.memory: expected number, received string"; the first three suffice. */
function describeIssues(issues: readonly Issue[]): string {
  return issues
    .slice(0, 3)
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`))
    .join('; ')
    .slice(0, 500);
}
