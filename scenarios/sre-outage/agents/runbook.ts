/** Works through a runbook: the first rule that fits what the logs say is followed, then the next. Never asks why. */
import { OnCall } from '../lib/on-call.ts';

const EFFECT_MS = 120_000;
const SURE_MS = 120_000;
const RECENT_MS = 15 * 60_000;

interface Component {
  readonly name: string;
  readonly error_rate: number | null;
  readonly p95_ms: number | null;
}
interface Step {
  readonly cause: string;
  readonly component: string;
  readonly action: string;
}

/** In the order in which they were learnt. `it`: the component whose log it is, or that the line complains about. */
const RULES: readonly {
  readonly pattern: RegExp;
  readonly cause: string;
  readonly action: string;
  readonly on?: string;
}[] = [
  { pattern: /certificate/, cause: 'expired_certificate', action: 'renew-certificate' },
  { pattern: /no space left/, cause: 'disk_full', action: 'remove-log' },
  { pattern: /password authentication/, cause: 'credentials_rotated', action: 'copy-secret' },
  { pattern: /connection from the pool/, cause: 'pool_exhausted', action: 'resize-pool' },
  { pattern: /TypeError/, cause: 'bad_deploy', action: 'rollback' },
  { pattern: /from the acquirer/, cause: 'dependency_errors', action: 'switch-provider', on: 'payments' },
  { pattern: /ENOTFOUND/, cause: 'dns_failure', action: 'flush', on: 'resolver' },
  { pattern: /connection timed out/, cause: 'database_down', action: 'failover', on: 'database' },
  { pattern: /too many messages/, cause: 'queue_backlog', action: 'purge', on: 'queue' },
  { pattern: /queue is full/, cause: 'traffic_surge', action: 'scale-out' },
  { pattern: /out of memory|heap/, cause: 'memory_leak', action: 'restart' },
  { pattern: /deadline/, cause: 'network_partition', action: 'reroute' },
  { pattern: /query queue|read through/, cause: 'database_down', action: 'restart', on: 'database' },
  { pattern: /token/, cause: 'credentials_rotated', action: 'restart' },
];

const agent = await OnCall.start('runbook');
for await (const { message, from_name } of agent.clove.messages()) {
  const { type, incident, openedMs } = message as { type?: string; incident?: number; openedMs?: number };
  if (type === 'page' && from_name === 'watcher' && incident !== undefined)
    await handle(incident, openedMs ?? 0);
}

async function handle(incident: number, openedMs: number): Promise<void> {
  // Beside the watcher's own looks: whoever asks at the same instant is answered in whatever order.
  await agent.sleep(7);
  const tried = new Set<string>();
  while (await agent.isOpen(incident)) {
    const step = await nextStep(openedMs, tried);
    if (step === null) {
      await agent.sleep(EFFECT_MS);
      continue;
    }
    tried.add(`${step.action} ${step.component}`);
    const { cause, component, action } = step;
    await agent.ask('PATCH', `http://pager.sre/incidents/${incident}`, { cause, component, note: action });
    await perform(step);
    await agent.sleep(EFFECT_MS);
    if (await agent.staysWell(SURE_MS)) {
      await agent.ask('PATCH', `http://pager.sre/incidents/${incident}`, { status: 'resolved' });
      return;
    }
  }
}

async function nextStep(openedMs: number, tried: ReadonlySet<string>): Promise<Step | null> {
  const sinceMs = openedMs - RECENT_MS;
  const found = await agent.ask<{ changes: { what: string; component: string }[] }>(
    'GET',
    `http://cluster.sre/changes?since_ms=${sinceMs}`,
  );
  const isNew = ({ action, component }: Step) => !tried.has(`${action} ${component}`);
  const deployed = (found?.changes ?? [])
    .filter(({ what }) => what === 'deploy')
    .map(({ component }): Step => ({ cause: 'bad_deploy', component, action: 'rollback' }))
    .reverse();
  const ailing = await ailingComponents();
  for (const step of deployed) if (isNew(step)) return step;
  const lines: { name: string; text: string }[] = [];
  for (const name of ailing) {
    const logs = await agent.ask<{ lines: { level: string; text: string }[] }>(
      'GET',
      `http://logs.sre/logs/${name}?since_ms=${openedMs - 180_000}`,
    );
    for (const { level, text } of logs?.lines ?? []) if (level !== 'INFO') lines.push({ name, text });
  }
  for (const { pattern, cause, action, on } of RULES) {
    for (const { name, text } of lines) {
      if (!pattern.test(text) || /expires in|slow query/.test(text)) continue;
      const component = on ?? /^call to (\S+) failed/.exec(text)?.[1] ?? name;
      const step = { cause, component: action === 'copy-secret' ? name : component, action };
      if (isNew(step)) return step;
    }
  }
  // What the book does not know is started anew.
  const restart = ailing.map((component): Step => ({ cause: 'unknown', component, action: 'restart' }));
  return restart.find(isNew) ?? null;
}

async function ailingComponents(): Promise<string[]> {
  const found = await agent.ask<{ components: Component[] }>('GET', 'http://metrics.sre/components');
  return (found?.components ?? [])
    .filter(({ error_rate, p95_ms }) => (error_rate ?? 0) > 0.02 || (p95_ms ?? 0) > 600)
    .map(({ name }) => name)
    .filter((name) => name !== 'acquirer');
}

async function perform({ action, component }: Step): Promise<void> {
  switch (action) {
    case 'remove-log':
      await agent.clove.exec(`rm -f /var/log/shop/${component}/debug.log`).catch(() => null);
      return;
    case 'copy-secret': {
      const secret = await agent.clove.readFile('/etc/vault/database');
      await agent.clove.writeFile(`/etc/shop/${component}.secret`, secret).catch(() => null);
      return;
    }
    default:
      await agent.ask('POST', `http://cluster.sre/components/${component}/${action}`);
  }
}
