import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runFleet } from '../../bench/fleet/testing.ts';
import codingProject from './scenario.ts';

describe('coding-project', () => {
  it('tells one that patches what the test shows from one that understands, whatever they say', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    if (!existsSync('/usr/bin/python3')) context.skip('no python3 in the system folders');
    const { results, explain } = await runFleet(codingProject);
    const [naive, careful] = results.trials;
    expect(naive?.metrics, explain('clove')).toMatchObject({
      score: 0,
      claimed: 1,
      hiddenTests: { passed: 3, all: 9 },
    });
    expect(careful?.metrics, explain('clove')).toMatchObject({
      score: 1,
      claimed: 1,
      hiddenTests: { passed: 9, all: 9 },
    });
    expect(Number(careful?.metrics?.calls)).toBeGreaterThan(Number(naive?.metrics?.calls));
    const facts = [naive, careful].map((trial) => trial?.attempts[0]?.result?.facts);
    for (const each of facts)
      expect(each).toMatchObject({
        artifactSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        judgeSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        findings: null,
      });
    expect(facts[0]?.judgeSha256).toBe(facts[1]?.judgeSha256);
    expect(facts[0]?.artifactSha256).not.toBe(facts[1]?.artifactSha256);
    expect(results.trials.map(({ status }) => status)).toEqual(['passed', 'passed']);
  }, 180_000);
});
