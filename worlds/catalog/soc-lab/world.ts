import { defineWorld } from '../../definition.ts';
import { firewall, hosts, identity, intelligence, siem } from './services.ts';

/**
 * A company's security operations: four machines that write logs, and the services one watches and defends them with. Nothing in it
 * is real, and everything has a memory.
 */
export default defineWorld({
  name: 'soc-lab',
  description:
    'A security operations lab: logs of four machines under /var/log/lab, and firewall, identity, threat intelligence, SIEM and hosts as services at *.lab.',
  seed: 42,
  clock: { mode: 'skip', start: '2026-01-05T08:00:00Z' },
  files: {
    initial: {
      '/etc/hostname': 'soc-lab\n',
      '/var/log/lab': { folder: true },
      '/reports': { folder: true },
      '/README.md': [
        '# soc-lab',
        '',
        'Logs: /var/log/lab/<minute>.log, one line an event.',
        'http://firewall.lab      GET/POST /rules, DELETE /rules/:id, GET/PUT /ddos-protection',
        'http://identity.lab      GET /users/:name, POST /users/:name/revoke, GET /revocations',
        'http://intelligence.lab  GET /ip/:address',
        'http://siem.lab          GET/POST /alerts',
        'http://hosts.lab         GET /hosts, POST /hosts/:name/{isolate,cleanup,forensics}',
        '',
      ].join('\n'),
    },
    readonly: ['/etc/**', '/README.md'],
    writable: ['/var/log/lab/**', '/reports/**', '/data/**', '/tmp/**'],
  },
  services: {
    firewall: { host: 'firewall.lab', service: firewall },
    identity: { host: 'identity.lab', service: identity },
    intelligence: { host: 'intelligence.lab', service: intelligence, delay_ms: 40 },
    siem: { host: 'siem.lab', service: siem, delay_ms: 10 },
    hosts: { host: 'hosts.lab', service: hosts },
  },
});
