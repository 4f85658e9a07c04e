import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[];
  readonly status: { readonly code?: number; readonly message?: string };
}

export interface CollectedRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: {
    readonly resourceSpans: readonly {
      readonly resource: { readonly attributes: CollectedSpan['attributes'] };
      readonly schemaUrl: string;
      readonly scopeSpans: readonly { readonly spans: readonly CollectedSpan[] }[];
    }[];
  };
}

/** A collector on this machine that takes what is sent, or answers as a test tells it to. */
export class FakeCollector {
  readonly requests: CollectedRequest[] = [];
  answer: (response: ServerResponse) => void = (response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  };
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      let text = '';
      request.setEncoding('utf8');
      request.on('data', (chunk: string) => {
        text += chunk;
      });
      request.on('end', () => {
        this.requests.push({ path: request.url ?? '', headers: request.headers, body: JSON.parse(text) });
        this.answer(response);
      });
    });
  }

  static async start(): Promise<FakeCollector> {
    const collector = new FakeCollector();
    await new Promise<void>((resolve) => collector.#server.listen(0, '127.0.0.1', resolve));
    return collector;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get spans(): CollectedSpan[] {
    return this.requests.flatMap(({ body }) =>
      body.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
    );
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Attributes as they were before they were encoded. */
export function attributesOf(span: Pick<CollectedSpan, 'attributes'>): Record<string, unknown> {
  return Object.fromEntries(span.attributes.map(({ key, value }) => [key, plain(value)]));
}

function plain(value: Readonly<Record<string, unknown>>): unknown {
  const [[kind, held]] = Object.entries(value) as [[string, unknown]];
  if (kind === 'intValue') return Number(held);
  if (kind === 'arrayValue') return (held as { values: Record<string, unknown>[] }).values.map(plain);
  return held;
}
