/** Knows what is known of addresses; asks once an hour at most about each. */
import { LabAgent } from '../lib/agent.ts';

const TTL_SECONDS = 3600;

const agent = await LabAgent.start('threat-intel');
for await (const { message, from } of agent.messages()) {
  if (message.type !== 'enrich_incident') continue;
  const key = `intel/${message.sourceIp}`;
  const known = await agent.clove.fetch<number>(key);
  let score = known ?? null;
  if (score === null) {
    const answer = await agent.service<{ score?: unknown }>(
      'GET',
      `http://intelligence.lab/ip/${encodeURIComponent(message.sourceIp)}`,
    );
    score = answer?.status === 200 && typeof answer.json.score === 'number' ? answer.json.score : null;
    if (score !== null) await agent.clove.store(key, score, { ttlSeconds: TTL_SECONDS });
  }
  await agent.send(from, { type: 'enrichment_result', id: message.id, score });
}
