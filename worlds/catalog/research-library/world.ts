import { defineWorld, type WorldInput } from '../../definition.ts';
import { corpusOf } from './corpus.ts';
import { libraryService, libraryState } from './service.ts';

const BUDGET = 220;

/** A library whose papers are of the seed: most are sound, some contradict each other, some were retracted, some made up. */
export default function researchLibrary(seed: number): WorldInput {
  return defineWorld({
    name: 'research-library',
    description:
      'A library with search, papers and a registry of what was published and retracted: sound work, contradictions, hearsay and forgeries; rates, a budget, pages that fail.',
    seed,
    files: {
      initial: { '/README.md': README, '/report': { folder: true } },
      readonly: ['/README.md'],
      writable: ['/report/**'],
    },
    services: {
      library: {
        host: ['search.lib', 'papers.lib', 'registry.lib', 'desk.lib'],
        service: libraryService(libraryState(corpusOf(seed), BUDGET, seed)),
        delay_ms: 200,
      },
    },
    clock: { mode: 'skip', start: '2026-05-04T09:00:00Z' },
    roles: {
      scout: { description: 'Searches and reads.' },
      critic: { description: 'Asks the registry, and checks figures.' },
      synthesiser: { description: 'Writes the review.' },
    },
  });
}

const README = `The library

  http://search.lib/search?q=alvedrin&page=1   five results a page
  http://papers.lib/papers/p-101               a paper with its text
  http://registry.lib/works/p-101              published or retracted; 404 = nobody ever registered it

Each reader: 12 requests a minute to search and papers, 40 to the registry (429 with Retry-After). All together: ${BUDGET} requests (402).
Pages fail now and then.
`;
