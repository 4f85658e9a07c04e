/** A model on this machine that is none: takes its time, answers, and remembers who asked and by which way. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Served {
  /** As the question says. */
  readonly agent: string;
  readonly atMs: number;
}

export interface ModelServer {
  readonly port: number;
  /** With a part that only the kernel is told: who comes without it has not come through the kernel. */
  readonly baseUrl: string;
  readonly served: readonly Served[];
  /** Requests that came by another way. */
  readonly strangers: readonly string[];
  close(): Promise<void>;
}

export async function startModelServer(latencyMs: number): Promise<ModelServer> {
  const key = randomBytes(12).toString('hex');
  const served: Served[] = [];
  const strangers: string[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const question = /\[([\w-]+)\][^"]*/.exec(text);
    if (!request.url?.startsWith(`/${key}/`)) {
      strangers.push(question?.[0] ?? text.slice(0, 100));
      response.writeHead(401).end();
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, latencyMs));
    served.push({ agent: question?.[1] ?? '', atMs: performance.now() });
    response.writeHead(200, { 'content-type': 'application/json' }).end(
      JSON.stringify({
        model: 'slow-model',
        choices: [{ message: { content: 'yes' }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 4, completion_tokens: 1, total_tokens: 5 },
      }),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    baseUrl: `http://127.0.0.1:${port}/${key}`,
    served,
    strangers,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
