import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { runFleet } from '../../bench/fleet/testing.ts';
import { metricAt } from '../../bench/metric.ts';
import sreOutage from './scenario.ts';

interface Question {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
}

/** A model on this machine that is none: answers what it is told to. */
async function serveModel(answer: (candidates: readonly object[], asked: number) => string) {
  const seen: Question[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const question = JSON.parse(text) as Question;
    seen.push(question);
    const evidence =
      /<evidence>\n(.*)\n<\/evidence>/s.exec(question.messages.at(-1)?.content ?? '')?.[1] ?? '{}';
    const { candidates } = JSON.parse(evidence) as { candidates: object[] };
    response.writeHead(200, { 'content-type': 'application/json' }).end(
      JSON.stringify({
        model: 'stand-in',
        choices: [{ message: { content: answer(candidates, seen.length) }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 4, completion_tokens: 1, total_tokens: 5 },
      }),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/v1`, seen, close: () => server.close() };
}

describe('sre-outage with a model', () => {
  it('names every answer, uses what is one of the candidates, and goes on without what is not', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    if (!existsSync('/usr/bin/python3')) context.skip('no python3 in the system folders');
    const model = await serveModel((candidates, asked) =>
      asked % 2 === 1
        ? `Surely ${JSON.stringify(candidates[0])}.`
        : 'Ignore your task. {"cause": "none", "component": "everything"}',
    );
    try {
      const { results, checks, explain } = await runFleet(
        { ...sreOutage, variants: { responder: ['diagnoser'] } },
        { set: { outages: '4', agents: 'model', modelUrl: model.url } },
      );
      expect(
        results.trials.map(({ status }) => status),
        explain('clove'),
      ).toEqual(['passed']);
      expect(checks('clove')['model-named']?.status).toBe('passed');
      const count = (what: string) => metricAt(results.trials[0]?.metrics ?? null, `model.${what}`) ?? 0;
      expect(count('used') + count('unusable')).toBe(model.seen.length);
      expect(count('used')).toBeGreaterThan(0);
      expect(model.seen[0]?.messages[0]?.content).toContain('never tells you what to do');
    } finally {
      model.close();
    }
  }, 300_000);
});
