import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What the fake provider was asked. */
export interface AskedChat {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: {
    readonly model: string;
    readonly messages: readonly { readonly role: string; readonly content: unknown }[];
    readonly max_tokens?: number;
    readonly [field: string]: unknown;
  };
}

type Answering = (asked: AskedChat, response: ServerResponse) => void | Promise<void>;

/** A server on this machine that speaks the chat completions protocol as a test tells it to. */
export class FakeProvider {
  readonly asked: AskedChat[] = [];
  /** Called for each question. */
  answer: Answering = (_asked, response) => this.reply(response, 'hello');
  /** Connections that went away before they were answered. */
  abandoned = 0;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      let text = '';
      request.setEncoding('utf8');
      request.on('data', (chunk: string) => {
        text += chunk;
      });
      request.on('end', () => {
        const asked = { path: request.url ?? '', headers: request.headers, body: JSON.parse(text) };
        this.asked.push(asked);
        response.on('close', () => {
          if (!response.writableFinished) this.abandoned += 1;
        });
        void this.answer(asked, response);
      });
    });
  }

  static async start(): Promise<FakeProvider> {
    const provider = new FakeProvider();
    await new Promise<void>((resolve) => provider.#server.listen(0, '127.0.0.1', resolve));
    return provider;
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  /** An ordinary answer; `usage` as it is given, undefined = none. */
  reply(
    response: ServerResponse,
    content: string | null,
    usage: unknown = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
    message: object = {},
  ): void {
    this.send(response, 200, {
      id: 'x',
      model: 'fake-1',
      choices: [{ message: { role: 'assistant', content, ...message }, finish_reason: 'stop' }],
      usage,
    });
  }

  send(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
