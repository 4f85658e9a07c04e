import { CloveError } from '../../errors/index.ts';
import { callOptions, waitFields } from './arguments.ts';
import { TunnelClient } from './tunnel-client.ts';
import type { CallOptions, SyscallRequest, SyscallResponse, WaitOptions } from './types.ts';

/** How a command ended. */
export type ExecResult = Extract<SyscallResponse<'EXEC'>, { exit_code: number }>;

/** What a server answered. */
export type HttpResult = Extract<SyscallResponse<'HTTP'>, { status_code: number }>;

/** What a model answered. */
export type ThinkResult = Extract<SyscallResponse<'THINK'>, { content: string }>;

type Accepted = Extract<SyscallResponse<'EXEC'>, { async: true }>;

/** An answer to a call that was submitted. */
export type AsyncResult = SyscallResponse<'ASYNC_POLL'>['results'][number];

/** Files, commands, HTTP and models, also to be answered later. */
export class CallsClient extends TunnelClient {
  // ---- files and commands, inside the caller's sandbox

  async exec(
    command: string,
    request: Omit<SyscallRequest<'EXEC'>, 'command' | 'async' | 'request_id'> = {},
    options?: CallOptions,
  ): Promise<ExecResult> {
    return (await this.call('EXEC', { ...request, command }, options)) as ExecResult;
  }

  /** @throws PATH_REFUSED, NOT_FOUND, FORBIDDEN, IO; DATA_CORRUPT when it is not UTF-8 text */
  async readFile(path: string, options?: CallOptions): Promise<string> {
    const { content, encoding } = await this.call('READ', { path }, options);
    if (encoding === undefined) return content;
    throw new CloveError('DATA_CORRUPT', `${path} is not UTF-8 text`, { hint: 'Read it with readBytes().' });
  }

  async readBytes(path: string, options?: CallOptions): Promise<Uint8Array> {
    const { content, encoding } = await this.call('READ', { path }, options);
    return Buffer.from(content, encoding ?? 'utf8');
  }

  /** Returns the bytes written. @throws PATH_REFUSED, NOT_FOUND, FORBIDDEN, IO */
  async writeFile(
    path: string,
    content: string | Uint8Array,
    options: CallOptions & { readonly mode?: 'write' | 'append' } = {},
  ): Promise<number> {
    const { mode = 'write', ...call } = options;
    const data =
      typeof content === 'string'
        ? { content }
        : { content: Buffer.from(content).toString('base64'), encoding: 'base64' as const };
    return (await this.call('WRITE', { path, ...data, mode }, call)).bytes_written;
  }

  // ---- HTTP, by the kernel

  /** Any response is a result, also 404. @throws FORBIDDEN, TIMEOUT, PAYLOAD_TOO_LARGE, OVERLOAD, IO */
  async http(
    url: string,
    request: Omit<SyscallRequest<'HTTP'>, 'url' | 'async' | 'request_id'> = {},
    options?: CallOptions,
  ): Promise<HttpResult> {
    return (await this.call('HTTP', { ...request, url }, options)) as HttpResult;
  }

  /** Into a file of the caller. @throws IO when the server has it not, DATA_CORRUPT when it is another; and as http() and writeFile() */
  download(
    url: string,
    path: string,
    request: Omit<SyscallRequest<'DOWNLOAD'>, 'url' | 'path'> = {},
    options?: CallOptions,
  ): Promise<SyscallResponse<'DOWNLOAD'>> {
    return this.call('DOWNLOAD', { ...request, url, path }, options);
  }

  // ---- models

  /** Asks the kernel's model, and waits for its turn and the answer. @throws NOT_FOUND when it has none, FORBIDDEN, OVERLOAD, TIMEOUT, IO */
  async think(
    prompt: string,
    request: Omit<NonNullable<SyscallRequest<'THINK'>>, 'prompt' | 'async' | 'request_id'> = {},
    options?: CallOptions,
  ): Promise<ThinkResult> {
    return (await this.call('THINK', { ...request, prompt, async: false }, options)) as ThinkResult;
  }

  /** Tells the kernel what this caller has used of a model of its own. Returns false when that is more than its quota. */
  async reportTokens(tokens: number, options?: CallOptions): Promise<boolean> {
    return (await this.call('LLM_REPORT', { tokens, success: true }, options)).success;
  }

  // ---- calls that are answered later

  /** Starts a call and returns the id that its answer will have. @throws OVERLOAD when too many are not polled */
  async submit<Name extends 'EXEC' | 'HTTP' | 'THINK'>(
    name: Name,
    request: Omit<SyscallRequest<Name>, 'async'>,
    options?: CallOptions,
  ): Promise<number> {
    const call = { ...request, async: true } as SyscallRequest<'EXEC'> &
      SyscallRequest<'HTTP'> &
      SyscallRequest<'THINK'>;
    return ((await this.call<'EXEC' | 'HTTP' | 'THINK'>(name, call, options)) as Accepted).request_id;
  }

  /** Answers of submitted calls, each once, in the order in which they ended; those of a lost connection are lost. */
  async pollAsync(options: WaitOptions & { readonly requestId?: number } = {}): Promise<AsyncResult[]> {
    const { max = 10, requestId, ...wait } = options;
    const request = {
      max,
      ...(requestId === undefined ? {} : { request_id: requestId }),
      ...waitFields(wait),
    };
    return (await this.call('ASYNC_POLL', request, callOptions(wait))).results;
  }
}
