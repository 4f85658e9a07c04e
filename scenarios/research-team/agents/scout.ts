/** Searches for its topics, reads what it finds, and passes on what is stated there. */
import { type CloveClient, connect } from 'clove/sdk';
import { Library } from '../lib/library.ts';
import type { TeamMessage } from '../lib/messages.ts';
import { statementsOf } from '../lib/reading.ts';

interface Hits {
  readonly results: readonly { readonly id: string }[];
  readonly more: boolean;
}

const name = process.env.CLOVE_AGENT_NAME ?? '';
const clove: CloveClient = await connect();
await clove.send('oracle', { ready: name });

/** The first to take a paper reads it; a paper may be about the topic of another scout, too. */
async function isMine(paper: string): Promise<boolean> {
  return (await clove.cas(`paper:${paper}`, undefined, name, { scope: 'world' })).swapped;
}

for await (const { message } of clove.messages()) {
  const said = message as TeamMessage;
  if (said.type !== 'start') continue;
  await clove.waitInWorld({ untilMs: said.beginsMs[name] ?? 0 });
  const library = new Library(clove, said.untilMs);
  for (const topic of said.topics[name] ?? []) {
    for (let page = 1, more = true; more && !library.isOver; page++) {
      const hits = await library.page<Hits>(`http://search.lib/search?q=${topic}&page=${page}`);
      more = hits?.more ?? false;
      for (const { id } of hits?.results ?? []) {
        if (library.isOver || !(await isMine(id))) continue;
        const paper = await library.page<{ readonly text: string }>(`http://papers.lib/papers/${id}`);
        const statements = paper === null ? [] : statementsOf(id, paper.text);
        if (statements.length > 0) await clove.send(said.reader, { type: 'read', statements });
      }
    }
  }
  await clove.send(said.reader, { type: 'done', unread: library.unread });
}
