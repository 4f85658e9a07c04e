import type { WebSocket } from 'ws';
import { compileGlob, compilePath, hostMatcher, portOf } from '../patterns.ts';
import type { WebSocketConfig } from '../schema.ts';
import type { Wire } from './wire.ts';

/** The first declared one that is meant; null = none is. */
export function webSocketFor(declared: readonly WebSocketConfig[], url: URL): WebSocketConfig | null {
  const port = portOf(url);
  return (
    declared.find(
      ({ host, path }) => hostMatcher(host)(url.hostname, port) && compilePath(path)(url.pathname) !== null,
    ) ?? null
  );
}

const textOf = (message: string | { readonly json: unknown }) =>
  typeof message === 'string' ? message : JSON.stringify(message.json);

/** Serves one client until it or the script is done. Messages wait for each other, so that faults keep their order. */
/** Messages of one connection that wait to be answered. */
const MOST_QUEUED = 16;

export function serveWebSocket(
  config: WebSocketConfig,
  client: WebSocket,
  wire: Wire,
  signal: AbortSignal,
): void {
  let queue: Promise<void> = Promise.resolve();
  let queued = 0;
  const enqueue = (work: () => Promise<void>) => {
    // Who writes faster than it reads, or than a delay lets through, waits: nothing piles up here.
    if (++queued >= MOST_QUEUED && client.readyState === client.OPEN) client.pause();
    queue = queue
      .then(work)
      .catch(() => client.terminate())
      .finally(() => {
        if (--queued < MOST_QUEUED / 2) client.resume();
      });
  };
  const send = async (data: string | Buffer, binary = false) => {
    await wire.pass(data.length, signal);
    if (client.readyState !== client.OPEN) return;
    await new Promise<void>((sent) => {
      client.send(data, { binary }, () => sent());
    });
  };
  const replies = config.replies.map(({ match, ...reply }) => ({ matches: compileGlob(match), ...reply }));
  for (const message of config.greet) enqueue(() => send(textOf(message)));
  client.on('message', (data, binary) => {
    const bytes = Buffer.isBuffer(data) ? data : Buffer.concat([data].flat() as Buffer[]);
    enqueue(async () => {
      const text = bytes.toString('utf8');
      const reply = replies.find(({ matches }) => matches(text));
      if (reply === undefined) return config.echo ? send(bytes, binary) : undefined;
      if (reply.delay_ms > 0) await wire.clock.sleep(reply.delay_ms, signal);
      if (reply.send !== undefined) await send(textOf(reply.send));
      if (reply.close) client.close(1000);
    });
  });
  const { every } = config;
  if (every !== undefined) {
    const ended = new AbortController();
    client.once('close', () => ended.abort());
    const until = AbortSignal.any([signal, ended.signal]);
    const tick = async () => {
      for (let time = 0; time < every.times; time += 1) {
        await wire.clock.sleep(every.ms, until);
        await send(every.send);
      }
    };
    tick().catch(() => client.terminate());
  }
  client.on('error', () => client.terminate());
}
