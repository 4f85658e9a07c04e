/** Writes the review of what it was told, when everybody has said that there is no more. */
import { connect } from 'clove/sdk';
import type { Statement, TeamMessage } from '../lib/messages.ts';
import { reviewOf } from '../lib/review.ts';

const clove = await connect();
await clove.send('oracle', { ready: 'synthesiser' });

const statements: Statement[] = [];
let waitedFor: ReadonlySet<string> | null = null;
const done = new Set<string>();

for await (const { message, from_name: from } of clove.messages()) {
  const said = message as TeamMessage;
  if (said.type === 'start') waitedFor = new Set(said.feeders);
  else if (said.type === 'read') statements.push(...said.statements);
  else done.add(from);
  if (waitedFor === null || done.size < waitedFor.size) continue;
  await clove.writeFile('/report/review.json', `${JSON.stringify(reviewOf(statements), null, 2)}\n`);
  await clove.send('oracle', { written: statements.length });
}
