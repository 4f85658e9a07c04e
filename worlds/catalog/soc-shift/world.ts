import { defineWorld, type WorldInput } from '../../definition.ts';
import { type LabEvent, logLine, planShift } from './attacks.ts';
import service from './service.ts';

const SYSTEMS = ['auth', 'web', 'firewall', 'database'] as const;

/** Both as a log line of its system and as an event of the log management. */
function entryOf(event: LabEvent): NonNullable<WorldInput['schedule']>[number] {
  const { system, type, severity, sourceIp, port, user, atMs } = event;
  return {
    name: type,
    at: atMs,
    append: { path: `/var/log/${system}.log`, content: logLine(event) },
    request: {
      url: 'http://siem.corp/events',
      method: 'POST',
      json: { system, type, severity, source_ip: sourceIp, port: port ?? null, user: user ?? null },
    },
  };
}

export default function socShift(seed: number): WorldInput {
  return defineWorld({
    name: 'soc-shift',
    description:
      'A security operations centre at work: logs, log management, firewall, identity provider, threat intelligence, hosts; eight hours with six kinds of attacks among everyday noise.',
    seed,
    files: {
      initial: {
        '/work': { folder: true },
        ...Object.fromEntries(SYSTEMS.map((system) => [`/var/log/${system}.log`, ''])),
        '/etc/soc/README.md': README,
        '/etc/soc/playbook.md': PLAYBOOK,
      },
      readonly: ['/var/log/**', '/etc/**'],
    },
    network: { dns: { unknown: 'nxdomain' } },
    services: {
      lab: {
        host: ['siem.corp', 'firewall.corp', 'idp.corp', 'intel.corp', 'edr.corp'],
        service,
        delay_ms: { min: 5, max: 40 },
      },
      tickets: { host: 'tickets.corp', collections: { tickets: [] } },
    },
    clock: { mode: 'skip', start: '2026-03-02T08:00:00Z' },
    schedule: planShift(seed).events.map(entryOf),
    roles: {
      watcher: { description: 'Reads the logs and reports what is unusual.' },
      analyst: { description: 'Judges incidents with log management and threat intelligence.' },
      responder: { description: 'Blocks, locks and isolates by the playbook.' },
      auditor: { description: 'Keeps the record of who did what and why.' },
    },
  });
}

const README = `The lab

  /var/log/{auth,web,firewall,database}.log   what the systems write: time system TYPE src= port= user=
  http://siem.corp/events?after=N             the same as JSON, with severity; /alerts to report, /stats
  http://firewall.corp/rules                  POST {"ip", "action": "block", "minutes"}
  http://idp.corp/users/NAME/lock             also unlock, revoke
  http://intel.corp/ip/ADDRESS                what is known of an address
  http://edr.corp/hosts/NAME/isolate          also release
  http://tickets.corp/tickets                 hand-over between shifts

What the firewall blocks the log management sees no more of.
`;

const PLAYBOOK = `BRUTE_FORCE, SQL_INJECTION, PORT_SCAN, PATH_TRAVERSAL   block the source
DDOS_DETECT                                             rate limit, then block the sources
C2_BEACON                                               isolate the host
PRIV_ESC, DATA_EXFIL, UNAUTH_ACCESS                     revoke the sessions of the account, lock it
FAILED_LOGIN, INVALID_USER                              watch the source
Never block addresses of ours; never lock admin without a ticket.
`;
