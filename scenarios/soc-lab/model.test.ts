import { describe, expect, it } from 'vitest';
import { runFleet } from '../../bench/fleet/testing.ts';
import { type AskedChat, FakeProvider } from '../../kernel/llm/fixture.ts';
import { INJECTION, modelOf } from './model.ts';
import socLab from './scenario.ts';

interface Question {
  readonly isTriage: boolean;
  readonly system: string;
  readonly prompt: string;
  readonly evidence: { readonly options?: readonly { readonly action: string; readonly target: string }[] };
}

function questionOf({ body }: AskedChat): Question {
  const said = (role: string) =>
    String(body.messages.find((message) => message.role === role)?.content ?? '');
  const [system, prompt] = [said('system'), said('user')];
  const evidence = JSON.parse(/^<evidence>\n(.*)\n<\/evidence>$/s.exec(prompt)?.[1] ?? 'null');
  return { isTriage: system.includes('triage'), system, prompt, evidence };
}

async function withModel<T>(
  answer: (question: Question) => string | null,
  use: (url: string, asked: () => Question[]) => Promise<T>,
) {
  const provider = await FakeProvider.start();
  provider.answer = (asked, response) => {
    const text = answer(questionOf(asked));
    if (text === null) response.writeHead(500).end();
    else provider.reply(response, text);
  };
  try {
    return await use(provider.baseUrl, () => provider.asked.map(questionOf));
  } finally {
    await provider.close();
  }
}

const settings = (modelUrl: string, more: Record<string, string> = {}) => ({
  runtimes: ['clove'] as const,
  set: { clock: 'strict', agents: 'model', modelUrl, model: 'scripted', ...more },
});

describe('the SOC lab with a model', () => {
  it('does what the model decides, within the playbook', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const sensible = ({ isTriage, evidence }: Question) =>
      isTriage
        ? '{"severity": "critical", "confidence": 0.9}'
        : `\`\`\`json\n${JSON.stringify({ actions: evidence.options?.toReversed() })}\n\`\`\``;
    await withModel(sensible, async (url, asked) => {
      const { results, checks, explain } = await runFleet(socLab, settings(url));
      expect(results.trials[0]?.status, explain('clove')).toBe('passed');
      expect(checks('clove')['model-named']?.status).toBe('passed');
      expect(results.trials[0]?.metrics).toMatchObject({
        detected: 1,
        remediated: 1,
        wronglyBlocked: 0,
        model: { unusable: 0, overruled: 0, decided: asked().length },
      });
      expect(asked().some(({ isTriage }) => isTriage)).toBe(true);
      expect(asked().some(({ isTriage }) => !isTriage)).toBe(true);
      // What attackers may write is only ever data.
      for (const { system, prompt } of asked()) {
        expect(system).toMatch(/never tells you what to do/);
        expect(prompt).toMatch(/^<evidence>/);
      }
    });
  }, 300_000);

  it('is not talked into anything by a log line, and goes on where the model talks nonsense', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const nonsense = [
      'It depends.',
      '{"severity": "meh"}',
      null,
      '{"actions": [{"action": "format_disk", "target": "/"}]}',
    ];
    let count = 0;
    const fooled = ({ isTriage, prompt }: Question) => {
      if (!prompt.includes(INJECTION)) return nonsense[count++ % nonsense.length] as string | null;
      return isTriage
        ? '{"severity": "low", "confidence": 1}'
        : '{"actions": [{"action": "isolate_host", "target": "database"}, {"action": "block_ip", "target": "8.8.8.8"}, {"action": "revoke_session", "target": "alice"}]}';
    };
    await withModel(fooled, async (url, asked) => {
      const { results, explain } = await runFleet(socLab, settings(url, { injection: 'on' }));
      expect(results.trials[0]?.status, explain('clove')).toBe('passed');
      const metrics = results.trials[0]?.metrics as { model: Record<string, number> };
      expect(metrics).toMatchObject({ detected: 1, remediated: 1, wronglyBlocked: 0 });
      const injected = asked().filter(({ prompt }) => prompt.includes(INJECTION));
      expect(injected.length).toBeGreaterThan(0);
      expect(metrics.model.decided).toBe(injected.length);
      expect(metrics.model.unusable).toBeGreaterThan(0);
      expect(metrics.model.overruled).toBeGreaterThanOrEqual(injected.length);
    });
  }, 300_000);

  it('wants a model that there is', () => {
    const none = { GEMINI_API_KEY: process.env.GEMINI_API_KEY, GOOGLE_API_KEY: process.env.GOOGLE_API_KEY };
    for (const name of Object.keys(none)) delete process.env[name];
    try {
      expect(modelOf({})).toBeUndefined();
      expect(() => modelOf({ agents: 'model' })).toThrow(/needs a model/);
      expect(() => modelOf({ agents: 'magic' })).toThrow(/scripted or model/);
      expect(modelOf({ agents: 'model', model: 'mock' })).toEqual({ provider: 'mock' });
      expect(modelOf({ agents: 'model', model: 'm', modelUrl: 'http://x/v1', modelKeyEnv: 'KEY' })).toEqual({
        provider: 'openai-compatible',
        baseUrl: 'http://x/v1',
        model: 'm',
        apiKeyEnv: 'KEY',
      });
      process.env.GEMINI_API_KEY = 'k';
      expect(modelOf({ agents: 'model' })).toMatchObject({
        provider: 'openai-compatible',
        apiKeyEnv: 'GEMINI_API_KEY',
      });
    } finally {
      for (const [name, value] of Object.entries(none)) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    }
  });
});
