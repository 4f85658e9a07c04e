import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { CloveError } from '../../errors/index.ts';
import { canonical, isPublicAddress, ownAddresses } from './addresses.ts';
import { hostOf, isPrivateName, refused } from './target.ts';

/** All addresses of a name, in the order to try them. */
export type Lookup = (host: string) => Promise<readonly string[]>;

/** Of one caller at a time. The system's resolver cannot be told to stop, so one that hangs keeps its place until it ends. */
const MAX_LOOKUPS = 8;
/** Of vetted addresses, in turn, while none accepts a connection. */
const MAX_ADDRESSES = 4;

const systemLookup: Lookup = async (host) =>
  (await lookup(host, { all: true, order: 'verbatim' })).map(({ address }) => address);

/** From a URL to addresses that may be connected to. */
export class Resolver {
  readonly #lookup: Lookup;
  readonly #own: () => ReadonlySet<string>;
  readonly #pending = new Map<number, number>();

  constructor(lookupOf: Lookup = systemLookup, own: () => ReadonlySet<string> = ownAddresses) {
    this.#lookup = lookupOf;
    this.#own = own;
  }

  /** Lookups that have not ended, of all callers. */
  get pending(): number {
    let sum = 0;
    for (const count of this.#pending.values()) sum += count;
    return sum;
  }

  /**
   * Resolves once; the caller connects to what this returns and asks no resolver again. One address that is not allowed
   * spoils all: a name that points inside and outside is an attack or a mistake. @throws FORBIDDEN, OVERLOAD, IO
   */
  async resolve(callerId: number, url: URL, privateNetwork: boolean): Promise<readonly string[]> {
    const host = hostOf(url);
    const isLiteral = isIP(host) !== 0;
    if (!privateNetwork && !isLiteral && isPrivateName(host)) throw notAllowed(host, host);
    const addresses = isLiteral ? [host] : await this.#ask(callerId, host);
    if (!privateNetwork) {
      const own = this.#own();
      const inside = addresses.find((each) => !isPublicAddress(each) || own.has(canonical(each)));
      if (inside !== undefined) throw notAllowed(host, inside);
    }
    return [...new Set(addresses)].slice(0, MAX_ADDRESSES);
  }

  async #ask(callerId: number, host: string): Promise<readonly string[]> {
    const count = this.#pending.get(callerId) ?? 0;
    if (count >= MAX_LOOKUPS) {
      throw new CloveError('OVERLOAD', `${MAX_LOOKUPS} names of this caller are being looked up already`);
    }
    this.#pending.set(callerId, count + 1);
    try {
      const addresses = await this.#lookup(host);
      if (addresses.length > 0) return addresses;
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? 'lookup failed';
      throw new CloveError('IO', `Failed to execute HTTP request: ${reason} for ${host}`, { cause: error });
    } finally {
      const left = (this.#pending.get(callerId) ?? 1) - 1;
      if (left === 0) this.#pending.delete(callerId);
      else this.#pending.set(callerId, left);
    }
    throw new CloveError('IO', `Failed to execute HTTP request: ${host} has no address`);
  }
}

/** Which address it was is not told: that would map the network behind the kernel. */
function notAllowed(host: string, address: string): CloveError {
  const object = host === address ? host : `${host} (${address})`;
  return refused('http.private-address', `Permission denied: ${host} is not a public address`, object);
}
