import dnsPacket from 'dns-packet';
import type { NetworkCaller } from '../types.ts';
import type { VirtualNetwork } from '../virtual.ts';
import type { NameTable } from './addresses.ts';

/** What fits into an answer over UDP without more having been agreed on (RFC 1035). */
const PLAIN_UDP_BYTES = 512;
/** What is answered at most over UDP (DNS flag day 2020). */
const UDP_BYTES = 1232;

const RCODES = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4 } as const;
type Rcode = keyof typeof RCODES;

/** Answers one query; null = it is left unanswered (a fault, or not a query). */
export async function answerQuery(
  packet: Buffer,
  overUdp: boolean,
  network: VirtualNetwork,
  names: NameTable,
  caller: NetworkCaller,
): Promise<Buffer | null> {
  let query: dnsPacket.DecodedPacket;
  try {
    query = dnsPacket.decode(packet);
  } catch {
    return null;
  }
  if (query.type !== 'query') return null;
  const question = query.questions?.[0];
  const edns = query.additionals?.find((record) => record.type === 'OPT');
  const reply = (rcode: Rcode, answers: dnsPacket.Answer[] = []) => {
    const response: dnsPacket.Packet = {
      type: 'response',
      id: query.id ?? 0,
      // The codec takes the response code as the lowest bits of the flags.
      flags:
        (query.flag_rd === true ? dnsPacket.RECURSION_DESIRED : 0) |
        dnsPacket.RECURSION_AVAILABLE |
        dnsPacket.AUTHORITATIVE_ANSWER |
        RCODES[rcode],
      questions: question === undefined ? [] : [question],
      answers,
      ...(edns === undefined
        ? {}
        : {
            additionals: [
              {
                type: 'OPT',
                name: '.',
                udpPayloadSize: UDP_BYTES,
                flags: 0,
                options: [],
              } as unknown as dnsPacket.Answer,
            ],
          }),
    };
    const encoded = dnsPacket.encode(response);
    const most = edns === undefined ? PLAIN_UDP_BYTES : UDP_BYTES;
    if (!overUdp || encoded.length <= most) return encoded;
    return dnsPacket.encode({
      ...response,
      answers: [],
      flags: (response.flags ?? 0) | dnsPacket.TRUNCATED_RESPONSE,
    });
  };
  if (question === undefined) return reply('FORMERR');
  const at = network.clock.nowMs();
  const log = (outcome: 'answered' | 'refused' | 'failed', reason: string, faulty = false) =>
    network.log.add({
      kind: 'dns',
      agentId: caller.agentId,
      agentName: caller.agentName,
      at,
      realAt: Date.now(),
      durationMs: network.clock.nowMs() - at,
      method: question.type,
      url: question.name,
      outcome,
      matched: outcome === 'answered' ? 'names' : null,
      faults: faulty ? ['dns_failure'] : [],
      ...(outcome === 'answered' ? {} : { reason }),
      status: null,
      requestHeaders: [],
      requestBody: null,
      responseHeaders: [],
      responseBody: outcome === 'answered' ? network.log.keep(Buffer.from(reason)) : null,
    });
  const fault = network.faults.strike('dns_failure', question.name, caller);
  if (fault !== null) {
    const rcode = fault.rcode ?? 'SERVFAIL';
    log('failed', rcode, true);
    return rcode === 'timeout' ? null : reply(rcode);
  }
  const latencyMs = network.faults.latencyMs(question.name, caller);
  if (latencyMs > 0) await network.clock.sleep(latencyMs);
  const { ttl_s: ttl } = network.config.dns;
  if (question.type === 'PTR') {
    const address = addressOf(question.name);
    const name = address === null ? null : names.nameOf(address);
    log(name === null ? 'refused' : 'answered', name ?? 'NXDOMAIN');
    return name === null
      ? reply('NXDOMAIN')
      : reply('NOERROR', [{ type: 'PTR', name: question.name, ttl, data: name }]);
  }
  const found = names.resolve(question.name);
  if (found === null) {
    log('refused', 'NXDOMAIN');
    return reply('NXDOMAIN');
  }
  const wants = (type: 'A' | 'AAAA') => question.type === type || (question.type as string) === 'ANY';
  const answers = [
    ...(wants('A') ? found.v4.map((data) => ({ type: 'A' as const, name: question.name, ttl, data })) : []),
    ...(wants('AAAA')
      ? found.v6.map((data) => ({ type: 'AAAA' as const, name: question.name, ttl, data }))
      : []),
  ];
  // A name without records of the type that was asked for: an answer that says nothing.
  log('answered', answers.map(({ data }) => data).join(' '));
  return reply('NOERROR', answers);
}

/** `4.3.2.1.in-addr.arpa` and its like for IPv6, the other way round. */
function addressOf(name: string): string | null {
  const lower = name.toLowerCase();
  const v4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(lower);
  if (v4 !== null) return v4.slice(1).reverse().join('.');
  if (!/^([0-9a-f]\.){32}ip6\.arpa$/.test(lower)) return null;
  const digits = lower.slice(0, 64).split('.').filter(Boolean).reverse().join('');
  return (digits.match(/.{4}/g) ?? []).join(':');
}
