import { hash } from 'node:crypto';
import { defineService, type ServiceCall } from '../../network/service.ts';
import type { Corpus, Paper } from './corpus.ts';

/** What a reader may ask in a minute, of each desk: search and papers are one, the registry is the other. */
const PER_MINUTE = { reading: 12, registry: 40 } as const;
type Desk = keyof typeof PER_MINUTE;

const PAGE = 5;
/** Now and then a page fails, or arrives cut off; one that was asked for again is as likely to. */
export const FAILS = 0.07;
export const CUT_OFF = 0.03;

/** A request that counts. */
interface Use {
  readonly by: string;
  readonly desk: Desk;
  readonly status: number;
  /** ms since the epoch, in world time. */
  readonly at: number;
}

interface LibraryState {
  readonly papers: readonly Paper[];
  readonly registry: Readonly<
    Record<string, { readonly status: 'published' | 'retracted'; readonly notice: string | null }>
  >;
  /** Requests in all that the library answers, whoever asks. */
  readonly budget: number;
  /** Of which page fails for whom. */
  readonly salt: number;
  readonly used: Use[];
  /** Requests beyond a rate or the budget: they cost nothing, and get nothing. */
  readonly refused: { haste: number; budget: number };
}

/** Without anything that only the seed knows. */
export function libraryState({ papers }: Corpus, budget: number, salt: number): LibraryState {
  return {
    salt,
    papers: papers.map(({ paper }) => paper),
    registry: Object.fromEntries(
      papers
        .filter(({ isRegistered }) => isRegistered)
        .map(({ paper, standing }) => [
          paper.id,
          standing === 'retracted'
            ? { status: 'retracted' as const, notice: 'The figures could not be reproduced.' }
            : { status: 'published' as const, notice: null },
        ]),
    ),
    budget,
    used: [],
    refused: { haste: 0, budget: 0 },
  };
}

type Call = ServiceCall<LibraryState>;

/** Uniform in [0, 1), for the next request of this reader: what others ask at the same instant is nothing to it. */
function drawOf({ salt, used }: LibraryState, by: string): number {
  return luckOf(salt, by, used.filter((use) => use.by === by).length);
}

/** Of a reader's n-th request. */
export function luckOf(salt: number, by: string, count: number): number {
  return Number.parseInt(hash('sha256', `${salt}/${by}/${count}`, 'hex').slice(0, 12), 16) / 2 ** 48;
}

const refuse = (status: number, error: string, headers: Record<string, string> = {}) =>
  Response.json({ error }, { status, headers });

/**
 * Answers a reader within its rate and the budget of all.
 * search.lib: /search?q=&page= · papers.lib: /papers/:id · registry.lib: /works/:id
 */
function answered(
  host: string,
  desk: Desk,
  give: (call: Call) => Response | object,
): (call: Call) => Response | object {
  return (call) => {
    const { state, caller, now, request } = call;
    // One service behind several names: who may go to one of them has not been let in everywhere.
    if (new URL(request.url).hostname !== host) return refuse(404, `this is at ${host}`);
    if (state.used.length >= state.budget) {
      state.refused.budget += 1;
      return refuse(402, 'the budget of requests is spent');
    }
    const recent = state.used.filter(
      (use) => use.by === caller.agentName && use.desk === desk && use.at > now - 60_000,
    );
    const oldest = recent[0];
    if (oldest !== undefined && recent.length >= PER_MINUTE[desk]) {
      const seconds = Math.ceil((oldest.at + 60_000 - now) / 1000);
      state.refused.haste += 1;
      return refuse(429, 'too many requests', { 'retry-after': String(Math.max(1, seconds)) });
    }
    const note = (response: Response | object) => {
      const status = response instanceof Response ? response.status : 200;
      state.used.push({ by: caller.agentName, desk, status, at: now });
      return response;
    };
    const draw = drawOf(state, caller.agentName);
    if (draw < FAILS) return note(refuse(503, 'try again'));
    const answer = give(call);
    if (draw < FAILS + CUT_OFF && !(answer instanceof Response)) {
      const whole = JSON.stringify(answer);
      return note(
        new Response(whole.slice(0, whole.length / 2), { headers: { 'content-type': 'application/json' } }),
      );
    }
    return note(answer);
  };
}

export function libraryService(state: LibraryState) {
  return defineService<LibraryState>({
    state,
    routes: {
      'GET /search': answered('search.lib', 'reading', ({ state: { papers }, query }) => {
        const words = (query.get('q') ?? '').toLowerCase();
        const page = Math.max(1, Number(query.get('page') ?? 1) || 1);
        const hits = papers.filter(
          ({ title, text }) => words !== '' && `${title} ${text}`.toLowerCase().includes(words),
        );
        return {
          total: hits.length,
          page,
          results: hits
            .slice((page - 1) * PAGE, page * PAGE)
            .map(({ id, title, year, venue }) => ({ id, title, year, venue })),
          more: page * PAGE < hits.length,
        };
      }),
      'GET /papers/:id': answered(
        'papers.lib',
        'reading',
        ({ state: { papers }, params }) =>
          papers.find(({ id }) => id === params.id) ?? refuse(404, 'no such paper'),
      ),
      'GET /works/:id': answered('registry.lib', 'registry', ({ state: { registry }, params }) => {
        const id = params.id ?? '';
        return Object.hasOwn(registry, id) ? { id, ...registry[id] } : refuse(404, 'never registered');
      }),
      // For whoever runs the library.
      'GET /usage': ({ state: { used, refused, budget }, request }) =>
        new URL(request.url).hostname === 'desk.lib' ? { budget, used, refused } : refuse(404, 'not here'),
    },
  });
}
