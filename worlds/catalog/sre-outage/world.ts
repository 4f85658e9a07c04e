import { defineWorld, type WorldInput } from '../../definition.ts';
import { type Outage, planShift, rowOf, type ShiftPlan } from './faults.ts';
import { initialState, platformService } from './service.ts';

type Schedule = NonNullable<WorldInput['schedule']>;

const GOOD_CONFIG = 'upstream_timeout_ms: 2000\nworkers: 16\n';
const BAD_CONFIG = 'upstream_timeout_ms: 5\nworkers: 16\n';
const BEGUN = { requests: { host: 'pager.sre', path: '/on-call', method: 'POST' } };

export const configPath = (component: string) => `/etc/shop/${component}.yaml`;
export const secretPath = (component: string) => `/etc/shop/${component}.secret`;
export const debugLogPath = (component: string) => `/var/log/shop/${component}/debug.log`;
export const VAULT_PATH = '/etc/vault/database';

const FILED = ['checkout', 'catalogue', 'orders', 'payments', 'fulfilment'];
const secretOf = (version: number) => `DB_PASSWORD=shop-${version}\n`;

/** What an outage does to files, and what makes it good: the platform acts by what is in them. */
function filesOf({ kind, component, startMs, endMs }: Outage, version: number): Schedule {
  const { repair } = rowOf(kind);
  if (!('file' in repair)) return [];
  const told = (file: string): Schedule[number]['request'] => ({
    url: `http://cluster.sre/files/${component}/${file}`,
    method: 'POST',
  });
  switch (repair.file) {
    case 'config': {
      const path = configPath(component);
      return [
        { when: BEGUN, after: startMs, write: { path, content: BAD_CONFIG } },
        {
          when: { file: { path, contains: 'upstream_timeout_ms: 2000' } },
          times: 1000,
          request: told('config'),
        },
        { when: BEGUN, after: endMs, write: { path, content: GOOD_CONFIG } },
      ];
    }
    case 'secret': {
      const path = secretPath(component);
      const content = secretOf(version);
      // Everybody else was told.
      const others = FILED.filter((name) => name !== component).map(secretPath);
      return [
        ...[VAULT_PATH, ...others].map((to) => ({
          when: BEGUN,
          after: startMs,
          write: { path: to, content },
        })),
        { when: { file: { path, contains: content.trim() } }, times: 1000, request: told('secret') },
        { when: BEGUN, after: endMs, write: { path, content } },
      ];
    }
    case 'log': {
      const path = debugLogPath(component);
      return [
        { when: BEGUN, after: startMs, write: { path, content: 'TRACE request\n'.repeat(2000) } },
        { when: { file: { path, missing: true } }, times: 1000, request: told('log') },
        { when: BEGUN, after: endMs, remove: path },
      ];
    }
  }
}

export function sreOutage(seed: number, plan: ShiftPlan): WorldInput {
  return defineWorld({
    name: 'sre-outage',
    description:
      'A shop on call: eleven components that depend on each other, metrics, logs, probes and a pager; outages of sixteen kinds that the seed chooses, places and times, each acting until its cause is mended.',
    seed,
    files: {
      initial: {
        '/work/runbook.md': RUNBOOK,
        [VAULT_PATH]: secretOf(1),
        ...Object.fromEntries(
          FILED.flatMap((name) => [
            [configPath(name), GOOD_CONFIG],
            [secretPath(name), secretOf(1)],
            [`/var/log/shop/${name}`, { folder: true as const }],
          ]),
        ),
      },
      readonly: ['/work/runbook.md', '/etc/vault/**'],
    },
    services: {
      platform: {
        host: ['pager.sre', 'metrics.sre', 'logs.sre', 'cluster.sre', 'shop.sre'],
        service: platformService,
        state: JSON.parse(JSON.stringify(initialState(seed, plan))),
        delay_ms: 20,
      },
    },
    clock: { mode: 'skip', start: '2026-03-14T00:00:00Z' },
    schedule: plan.outages.flatMap((outage, index) => filesOf(outage, index + 2)),
    roles: {
      watcher: { description: 'Looks at what customers see, and pages.' },
      responder: { description: 'Finds the cause, mends it, says what it was.' },
    },
  });
}

export default (seed: number): WorldInput => sreOutage(seed, planShift(seed));

const RUNBOOK = `# On call

The shift begins with POST http://pager.sre/on-call. Times (_ms) are counted from then.

| | |
|---|---|
| http://metrics.sre | GET /slo: what customers see · GET /components · GET /components/NAME: the last half hour |
| http://logs.sre | GET /logs/NAME?since_ms= |
| http://cluster.sre | GET /topology · GET /changes?since_ms= · GET /clocks · POST /probe {"from", "to"} |
| | POST /components/NAME/ACTION: restart, rollback, scale-out, resize-pool, failover, renew-certificate, sync-clock, reroute, flush, warm, dead-letter, purge, switch-provider, shed-load |
| http://pager.sre | POST /incidents {"title"} · PATCH /incidents/ID {"cause", "component", "note", "status": "resolved"} |
| http://shop.sre | POST /buy · GET /browse |
| files | /etc/shop/NAME.yaml: configuration · /etc/shop/NAME.secret: its password, /etc/vault/database: the one that holds · /var/log/shop/NAME/debug.log |

What customers were promised: 98 % of requests answered, 95 % of them within 800 ms. Somebody else takes over what lasts too long.

Restarting the database loses what it has not written yet; purging the queue loses what is in it; shedding load turns customers away.
`;
