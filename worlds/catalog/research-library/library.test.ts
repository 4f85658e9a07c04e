import { describe, expect, it } from 'vitest';
import { LiveService } from '../../network/service.ts';
import { corpusOf } from './corpus.ts';
import { CUT_OFF, FAILS, libraryService, libraryState, luckOf } from './service.ts';

const corpus = corpusOf(7);

/** A reader whose requests fare so, one after the other. */
function readerWith(...fares: readonly ('well' | 'fails' | 'cut off')[]): string {
  for (let n = 0; ; n++) {
    const name = `reader-${n}`;
    const isMeant = (fare: string, count: number) => {
      const draw = luckOf(7, name, count);
      return fare === (draw < FAILS ? 'fails' : draw < FAILS + CUT_OFF ? 'cut off' : 'well');
    };
    if (fares.every(isMeant)) return name;
  }
}

/** A desk whose time the test says. */
function library(budget = 1000) {
  const surroundings = { nowMs: 1_000_000 };
  const state = libraryState(corpus, budget, 7);
  const service = new LiveService('library', libraryService(state), null, {
    now: () => surroundings.nowMs,
    random: () => 0,
  });
  const ask = async (url: string, agentName = readerWith('well')) => {
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
    const text = JSON.stringify(libraryState(corpus, 1, 7));
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
    const { ask: once, surroundings } = library();
    /** Asks again, and without haste. */
    const ask = async (url: string) => {
      for (;;) {
        surroundings.nowMs += 10_000;
        const answer = await once(url);
        if (answer.status === 404) return answer;
        if (answer.status === 200 && answer.text.endsWith('}')) return answer;
      }
    };
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
    const url = 'http://papers.lib/papers/p-101';
    for (let n = 0; n < 12; n++) expect((await ask(url)).status).not.toBe(429);
    surroundings.nowMs += 20_000;
    const hasty = await ask(url);
    expect([hasty.status, hasty.headers.get('retry-after')]).toEqual([429, '40']);
    expect((await ask(url, 'other')).status).not.toBe(429);
    expect((await ask('http://registry.lib/works/p-101')).status).not.toBe(429);
    surroundings.nowMs += 40_000;
    expect((await ask(url)).status).not.toBe(429);
    expect(JSON.parse((await ask('http://desk.lib/usage')).text).refused).toEqual({ haste: 1, budget: 0 });
  });

  it('has a budget, pages that fail, pages that are cut off, and one door for each desk', async () => {
    const { ask } = library(3);
    const reader = readerWith('fails', 'cut off', 'well');
    expect((await ask('http://papers.lib/papers/p-101', reader)).status).toBe(503);
    const cut = await ask('http://papers.lib/papers/p-101', reader);
    expect(cut.status).toBe(200);
    expect(() => JSON.parse(cut.text)).toThrow(SyntaxError);
    expect((await ask('http://search.lib/works/p-101', reader)).status).toBe(404);
    expect((await ask('http://papers.lib/usage', reader)).status).toBe(404);
    expect((await ask('http://papers.lib/papers/p-999', reader)).status).toBe(404);
    expect((await ask('http://papers.lib/papers/p-101', reader)).status).toBe(402);
    expect(JSON.parse((await ask('http://desk.lib/usage')).text)).toMatchObject({
      budget: 3,
      used: [{ status: 503 }, { status: 200 }, { status: 404 }],
      refused: { haste: 0, budget: 1 },
    });
  });
});
