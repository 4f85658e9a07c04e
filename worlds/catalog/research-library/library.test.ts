import { describe, expect, it } from 'vitest';
import { LiveService } from '../../network/service.ts';
import { corpusOf } from './corpus.ts';
import { libraryService, libraryState } from './service.ts';

const corpus = corpusOf(7);

/** A desk whose time and luck the test says. */
function library(budget = 1000) {
  const surroundings = { nowMs: 1_000_000, luck: 0.99 };
  const state = libraryState(corpus, budget);
  const service = new LiveService('library', libraryService(state), null, {
    now: () => surroundings.nowMs,
    random: () => surroundings.luck,
  });
  const ask = async (url: string, agentName = 'reader') => {
    const answer = await service.answer(new Request(url), { agentId: 1, agentName });
    if (answer === null) throw new Error(`nothing answers ${url}`);
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  };
  return { surroundings, ask };
}

describe('the literature of a seed', () => {
  it('is the same for the same seed, and says nothing of what only the seed knows', () => {
    expect(corpusOf(7)).toEqual(corpus);
    expect(corpusOf(8)).not.toEqual(corpus);
    const text = JSON.stringify(libraryState(corpus, 1));
    for (const word of ['standing', 'made-up', 'hearsay', 'isRegistered', 'claims'])
      expect(text).not.toContain(word);
  });

  it('has sound work for all that is true, both ways for what is contested, and none for anything else', () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const { findings, papers } = corpusOf(seed);
      const key = (one: { substance: string; outcome: string }, effect: string) =>
        `${one.substance} ${effect} ${one.outcome}`;
      const sound = papers
        .filter(({ standing }) => standing === 'sound')
        .flatMap(({ claims }) => claims.map((claim) => key(claim, claim.effect)));
      const wanted = findings.flatMap((finding) => finding.effects.map((effect) => key(finding, effect)));
      expect([...new Set(sound)].sort()).toEqual(wanted.sort());
      expect(findings.filter(({ effects }) => effects.length > 1)).toHaveLength(6);
      const shaky = papers.filter(({ standing }) => standing === 'retracted' || standing === 'made-up');
      for (const { claims } of shaky)
        for (const claim of claims) expect(wanted).not.toContain(key(claim, claim.effect));
      expect(new Set(papers.map(({ paper }) => paper.id)).size).toBe(papers.length);
    }
  });
});

describe('the library', () => {
  it('gives results page by page, papers, and what the registry knows', async () => {
    const { ask } = library();
    const ids: string[] = [];
    for (let page = 1, more = true; more; page++) {
      const { text } = await ask(`http://search.lib/search?q=alvedrin&page=${page}`);
      const hits = JSON.parse(text);
      expect(hits.results.length).toBeLessThanOrEqual(5);
      ids.push(...hits.results.map(({ id }: { id: string }) => id));
      more = hits.more;
    }
    const about = corpus.papers.filter(({ paper }) => /alvedrin/i.test(`${paper.title} ${paper.text}`));
    expect(ids).toEqual(about.map(({ paper }) => paper.id));
    expect(JSON.parse((await ask(`http://papers.lib/papers/${ids[0]}`)).text)).toMatchObject({ id: ids[0] });
    for (const { paper, standing, isRegistered } of corpus.papers.slice(0, 30)) {
      const { status, text } = await ask(`http://registry.lib/works/${paper.id}`);
      expect(status).toBe(isRegistered ? 200 : 404);
      if (isRegistered) expect(JSON.parse(text).status === 'retracted').toBe(standing === 'retracted');
    }
  });

  it('sends the hasty back, each for itself, and tells when to come again', async () => {
    const { ask, surroundings } = library();
    for (let n = 0; n < 12; n++) expect((await ask('http://papers.lib/papers/p-101')).status).toBe(200);
    surroundings.nowMs += 20_000;
    const hasty = await ask('http://papers.lib/papers/p-101');
    expect([hasty.status, hasty.headers.get('retry-after')]).toEqual([429, '40']);
    expect((await ask('http://papers.lib/papers/p-101', 'other')).status).toBe(200);
    expect((await ask('http://registry.lib/works/p-101')).status).not.toBe(429);
    surroundings.nowMs += 40_000;
    expect((await ask('http://papers.lib/papers/p-101')).status).toBe(200);
    expect(JSON.parse((await ask('http://desk.lib/usage')).text).refused).toEqual({ haste: 1, budget: 0 });
  });

  it('has a budget, pages that fail, pages that are cut off, and one door for each desk', async () => {
    const { ask, surroundings } = library(3);
    surroundings.luck = 0.01;
    expect((await ask('http://papers.lib/papers/p-101')).status).toBe(503);
    surroundings.luck = 0.08;
    const cut = await ask('http://papers.lib/papers/p-101');
    expect(cut.status).toBe(200);
    expect(() => JSON.parse(cut.text)).toThrow(SyntaxError);
    surroundings.luck = 0.5;
    expect((await ask('http://search.lib/works/p-101')).status).toBe(404);
    expect((await ask('http://papers.lib/usage')).status).toBe(404);
    expect((await ask('http://papers.lib/papers/p-999')).status).toBe(404);
    expect((await ask('http://papers.lib/papers/p-101')).status).toBe(402);
    expect(JSON.parse((await ask('http://desk.lib/usage')).text)).toMatchObject({
      budget: 3,
      used: [{ status: 503 }, { status: 200 }, { status: 404 }],
      refused: { haste: 0, budget: 1 },
    });
  });
});
