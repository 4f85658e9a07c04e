/** Stands for the machines of the lab: writes their lines when they are due, one file a minute. */
import { isOperator, LabAgent } from '../lib/agent.ts';

const agent = await LabAgent.start('event-source');
for await (const { message, from } of agent.messages()) {
  if (message.type !== 'start' || !isOperator(from)) continue;
  for (const { dueMs, text } of message.lines) {
    const { world_time_ms } = await agent.clove.waitInWorld({ untilMs: dueMs });
    const at = new Date(Math.round(world_time_ms)).toISOString();
    await agent.clove.writeFile(
      `/var/log/lab/${at.slice(0, 16).replaceAll(':', '-')}.log`,
      `${at} ${text}\n`,
      {
        mode: 'append',
      },
    );
  }
  await agent.clove.waitInWorld({ untilMs: message.untilMs });
  await agent.send('log-watcher', { type: 'ended' });
  await agent.send('oracle', { ended: agent.name });
}
