import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

/** IANA special-purpose IPv4 blocks, multicast, reserved; and one public address that answers inside a cloud's hosts only. */
const NOT_PUBLIC_4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '168.63.129.16/32',
];

/** What is given out to the internet; everything else of IPv6 (loopback, mapped, unique local, link-local, multicast …) is not. */
const GLOBAL_6 = ['2000::/3'];

/** Inside 2000::/3 all the same: protocol assignments with Teredo, documentation, and 6to4, which hides an IPv4 address. */
const NOT_PUBLIC_6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'];

/** Translated by the network to the IPv4 address in its last 32 bits. */
const NAT64 = ['64:ff9b::/96'];

function blocksOf(ranges: readonly string[]): BlockList {
  const blocks = new BlockList();
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/');
    blocks.addSubnet(address, Number(prefix), isIP(address) === 4 ? 'ipv4' : 'ipv6');
  }
  return blocks;
}

const notPublic4 = blocksOf(NOT_PUBLIC_4);
const notPublic6 = blocksOf(NOT_PUBLIC_6);
const global6 = blocksOf(GLOBAL_6);
const nat64 = blocksOf(NAT64);

/** Whether an address belongs to the internet at large, and not to this machine, its network or no network at all. */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !notPublic4.check(address, 'ipv4');
    case 6:
      // With a zone it is of one link only.
      if (address.includes('%')) return false;
      if (nat64.check(address, 'ipv6')) return !notPublic4.check(lastFourBytes(address), 'ipv4');
      return global6.check(address, 'ipv6') && !notPublic6.check(address, 'ipv6');
    default:
      return false;
  }
}

/** All addresses of this machine: what listens there may trust that only its neighbours can ask. */
export function ownAddresses(): ReadonlySet<string> {
  const own = new Set<string>();
  for (const list of Object.values(networkInterfaces())) {
    for (const { address } of list ?? []) own.add(canonical(address));
  }
  return own;
}

/** One spelling per address. */
export function canonical(address: string): string {
  const plain = withoutZone(address);
  if (isIP(plain) !== 6) return plain;
  return new URL(`http://[${plain}]/`).hostname.slice(1, -1);
}

function withoutZone(address: string): string {
  const zone = address.indexOf('%');
  return zone === -1 ? address : address.slice(0, zone);
}

function lastFourBytes(address: string): string {
  // With 64:ff9b:: in front and zeros in between, the last two groups stand after "::".
  const tail = canonical(address).split('::')[1] ?? '';
  const groups = tail.split(':').map((group) => Number.parseInt(group || '0', 16));
  const low = groups.at(-1) ?? 0;
  const high = groups.length > 1 ? (groups.at(-2) ?? 0) : 0;
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
