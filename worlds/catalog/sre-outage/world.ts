import { defineWorld } from '../../definition.ts';
import { defineService } from '../../network/service.ts';

interface Deployment {
  name: string;
  version: string;
  previous: string;
  replicas: number;
}
interface Incident {
  id: number;
  title: string;
  severity: string;
  status: 'triggered' | 'acknowledged' | 'resolved';
  opened_at: string;
  log: { at: string; by: string; note: string }[];
}

const BAD = 'v42';

/**
 * Cluster, shop, metrics and pager with one memory: version v42 of `checkout` fails half of its requests until it is rolled back.
 * cluster.test: /deployments · shop.test: /checkout · metrics.test: /query · pager.test: /incidents
 */
const platform = defineService({
  state: {
    next: 1,
    deployments: [
      { name: 'checkout', version: 'v41', previous: 'v40', replicas: 3 },
      { name: 'catalogue', version: 'v18', previous: 'v17', replicas: 2 },
    ] as Deployment[],
    incidents: [] as Incident[],
    requests: 0,
    errors: 0,
  },
  routes: {
    'GET /deployments': ({ state }) => ({ deployments: state.deployments }),
    'PUT /deployments/:name': async ({ state, params, json }) => {
      const found = state.deployments.find(({ name }) => name === params.name);
      if (found === undefined) return Response.json({ error: 'no such deployment' }, { status: 404 });
      const { version, replicas } = await json<{ version?: string; replicas?: number }>();
      if (version !== undefined && version !== found.version) {
        found.previous = found.version;
        found.version = version;
      }
      if (Number.isInteger(replicas)) found.replicas = Math.min(50, Math.max(0, replicas as number));
      return found;
    },
    'POST /deployments/:name/rollback': ({ state, params }) => {
      const found = state.deployments.find(({ name }) => name === params.name);
      if (found === undefined) return Response.json({ error: 'no such deployment' }, { status: 404 });
      [found.version, found.previous] = [found.previous, found.version];
      return found;
    },
    'POST /checkout': ({ state, random }) => {
      const checkout = state.deployments.find(({ name }) => name === 'checkout');
      state.requests += 1;
      const isBroken = checkout?.version === BAD && random() < 0.5;
      if (isBroken || (checkout?.replicas ?? 0) === 0) {
        state.errors += 1;
        return Response.json(
          { error: 'TypeError: total is undefined', version: checkout?.version },
          { status: 500 },
        );
      }
      return { ok: true, version: checkout?.version };
    },
    'GET /query': ({ state, query }) => {
      const rate = state.requests === 0 ? 0 : state.errors / state.requests;
      const values: Record<string, number> = {
        requests_total: state.requests,
        errors_total: state.errors,
        error_rate: rate,
      };
      const name = query.get('metric') ?? 'error_rate';
      return name in values
        ? { metric: name, value: values[name] }
        : Response.json({ error: 'no such metric', metrics: Object.keys(values) }, { status: 404 });
    },
    'GET /incidents': ({ state }) => ({ incidents: state.incidents }),
    'POST /incidents': async ({ state, json, now }) => {
      const { title = 'incident', severity = 'high' } = await json<Partial<Incident>>();
      const incident: Incident = {
        id: state.next++,
        title,
        severity,
        status: 'triggered',
        opened_at: new Date(now).toISOString(),
        log: [],
      };
      state.incidents.push(incident);
      return Response.json(incident, { status: 201 });
    },
    'PATCH /incidents/:id': async ({ state, params, json, caller, now }) => {
      const incident = state.incidents.find(({ id }) => String(id) === params.id);
      if (incident === undefined) return Response.json({ error: 'no such incident' }, { status: 404 });
      const { status, note } = await json<Partial<Incident> & { note?: string }>();
      if (status !== undefined) incident.status = status;
      if (note !== undefined)
        incident.log.push({ at: new Date(now).toISOString(), by: caller.agentName, note });
      return incident;
    },
  },
});

export default defineWorld({
  name: 'sre-outage',
  description:
    'A platform on call: a deployment that breaks the checkout until it is rolled back, a log disk that fills up, a name server that fails.',
  seed: 1,
  files: {
    initial: {
      '/work': { folder: true },
      '/var/log/checkout.log': '',
      '/work/runbook.md':
        '# Runbook\n\n1. http://metrics.test/query?metric=error_rate\n2. http://cluster.test/deployments, PUT /deployments/NAME, POST /deployments/NAME/rollback\n3. Keep http://pager.test/incidents up to date.\n4. Full disk: remove what is old below /var/log/archive.\n',
      '/var/log/archive/2026-01.log': 'old\n',
      '/var/log/archive/2026-02.log': 'old\n',
    },
  },
  services: {
    platform: {
      host: ['cluster.test', 'shop.test', 'metrics.test', 'pager.test'],
      service: platform,
      delay_ms: { min: 5, max: 50 },
    },
  },
  clock: { mode: 'skip', start: '2026-03-14T00:00:00Z' },
  schedule: [
    {
      name: 'customers',
      at: '+1s',
      event: 'load_spike',
      params: { url: 'http://shop.test/checkout', method: 'POST', per_second: 0.2 },
    },
    {
      name: 'deployment',
      at: '+30m',
      request: { url: 'http://cluster.test/deployments/checkout', method: 'PUT', json: { version: BAD } },
      append: { path: '/var/log/checkout.log', content: '{{time}} INFO version v42 is rolling out\n' },
    },
    {
      name: 'page',
      at: '+40m',
      request: {
        url: 'http://pager.test/incidents',
        method: 'POST',
        json: { title: 'checkout: error rate above 10 %', severity: 'critical' },
      },
      append: { path: '/var/log/checkout.log', content: '{{time}} ERROR TypeError: total is undefined\n' },
    },
    { name: 'disk', at: '+2h', event: 'disk_full', params: { path: '/var/**' }, for: '30m' },
    { name: 'names', at: '+3h', event: 'dns_failure', params: { hosts: 'metrics.test' }, for: '15m' },
  ],
});
