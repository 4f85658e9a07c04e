/** Reads the log as it grows, and reports what belongs together and looks like trouble. */
import { isOperator, LabAgent } from '../lib/agent.ts';
import { Correlator } from '../lib/correlate.ts';
import { parseLine } from '../lib/log-line.ts';

const POLL_MS = 1000;

const agent = await LabAgent.start('log-watcher');
const correlator = new Correlator();
/** How far each file was read, in characters; files older than the last minute are complete. */
const read = new Map<string, number>();
let unreadable = 0;

async function readOn(minuteMs: number): Promise<void> {
  const file = `/var/log/lab/${new Date(minuteMs).toISOString().slice(0, 16).replaceAll(':', '-')}.log`;
  const text = await agent.clove.readFile(file).catch(() => '');
  const from = read.get(file) ?? 0;
  const end = text.lastIndexOf('\n') + 1;
  read.set(file, end);
  for (const each of text.slice(from, end).split('\n').filter(Boolean)) {
    const line = parseLine(each);
    if (line === null) {
      unreadable++;
      continue;
    }
    const incident = correlator.take(line);
    if (incident === null) continue;
    await agent.record('anomaly_detected', incident.id, {
      type: incident.lead.type,
      sourceIp: incident.sourceIp,
      lines: incident.lines,
    });
    await agent.send('triager', {
      type: 'anomaly_detected',
      incident,
      context: {
        velocityPerMinute: correlator.velocity(incident.system),
        repeatCount: correlator.repeats(incident.sourceIp),
      },
    });
  }
}

for await (const { message, from } of agent.messages()) {
  if (message.type !== 'start' || !isOperator(from)) continue;
  let ended = false;
  while (!ended) {
    const { world_time_ms } = await agent.clove.waitInWorld({ ms: POLL_MS });
    await readOn(world_time_ms - 60_000);
    await readOn(world_time_ms);
    const news = await agent.clove.receive({ max: 10 });
    ended = news.some(({ message: said }) => (said as { type?: string }).type === 'ended');
  }
  await readOn(await agent.nowMs());
  await agent.record('log_closed', null, { unreadable });
  await agent.send('oracle', { ended: agent.name });
}
