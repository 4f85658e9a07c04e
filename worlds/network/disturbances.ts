import { CloveError } from '../../errors/index.ts';
import type { Exchange } from './exchange.ts';
import type { FaultBoard } from './faults.ts';
import { plainHost } from './patterns.ts';
import type { FaultKind } from './types.ts';

export interface DisturbOptions {
  readonly faults: FaultBoard;
  readonly sleep: (ms: number) => Promise<void>;
  /** Names, certificates and bandwidth are somebody else's part. */
  readonly onWire: boolean;
}

/** Faults before anything answers. A response = one that a fault gives. @throws NETWORK_FAULT */
export async function disturb(
  { url, caller, faults: met }: Exchange,
  { faults, sleep, onWire }: DisturbOptions,
): Promise<Response | null> {
  const host = plainHost(url.hostname);
  const fail = (fault: FaultKind, message: string, details: Record<string, unknown> = {}): never => {
    met.add(fault);
    throw new CloveError('NETWORK_FAULT', message, { details: { fault, host, ...details } });
  };
  if (!onWire) {
    const dns = faults.strike('dns_failure', host, caller);
    if (dns !== null)
      fail('dns_failure', `${host} cannot be resolved: ${dns.rcode ?? 'SERVFAIL'}`, {
        rcode: dns.rcode ?? 'SERVFAIL',
      });
  }
  const partition = faults.strike('partition', host, caller);
  if (partition !== null) {
    met.add('partition');
    if ((partition.hangMs ?? 0) > 0) await sleep(partition.hangMs ?? 0);
    fail('partition', `${host} cannot be reached`);
  }
  if (!onWire && url.protocol === 'https:' && faults.strike('tls_expiry', host, caller) !== null)
    fail('tls_expiry', `the certificate of ${host} has expired`);
  const lossMs = faults.lossMs(host, caller);
  if (lossMs > 0) met.add('loss');
  if (lossMs === Number.POSITIVE_INFINITY) fail('loss', `the connection to ${host} was lost`);
  const latencyMs = faults.latencyMs(host, caller);
  if (latencyMs > 0) met.add('latency');
  if (lossMs + latencyMs > 0) await sleep(lossMs + latencyMs);
  if (faults.strike('reset', host, caller) !== null) fail('reset', `${host} reset the connection`);
  const error = faults.strike('error_rate', host, caller);
  if (error === null) return null;
  met.add('error_rate');
  const status = error.status ?? 503;
  return new Response(error.body ?? 'Service Unavailable', {
    status,
    headers: { 'content-type': 'text/plain' },
  });
}
