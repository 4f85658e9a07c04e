import type { AllOf } from './all-of.ts';

/** `*`, or a host with an optional port: `example.org`, `*.example.org` (what lies below it, not itself), `[::1]:8080`, `example.org:*`. */
interface HostPattern {
  /** null = every host. */
  readonly host: string | null;
  readonly below: boolean;
  /** '' = the scheme's own, '*' = every one. */
  readonly port: string;
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/** null when the text is no pattern. */
export function parseHostPattern(text: string): HostPattern | null {
  if (text === '*') return { host: null, below: false, port: '*' };
  const [, star, name, port = ''] =
    /^(\*\.)?([^*/?#@\\\s:]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}|\*))?$/.exec(text) ?? [];
  if (name === undefined || (port !== '*' && Number(port) > 65_535)) return null;
  const parsed = URL.parse(`http://${name}/`);
  if (parsed === null || parsed.port !== '' || parsed.pathname !== '/') return null;
  const host = plainHost(parsed.hostname);
  if (host === '' || (star !== undefined && isAddress(host))) return null;
  return { host, below: star !== undefined, port };
}

/** A final dot names the same host. */
function plainHost(hostname: string): string {
  return hostname.replace(/\.$/, '');
}

function isAddress(host: string): boolean {
  return host.startsWith('[') || /^[\d.]+$/.test(host);
}

function hostMatches({ host, below }: HostPattern, name: string): boolean {
  if (host === null) return true;
  return below ? name.endsWith(`.${host}`) && !isAddress(name) : name === host;
}

function portMatches({ port }: HostPattern, url: URL): boolean {
  if (port === '*') return true;
  const standard = DEFAULT_PORTS[url.protocol] as string;
  return (url.port || standard) === (port || standard);
}

export interface HttpDecision {
  /** null = nothing stands against it. */
  readonly refusal: string | null;
  /** What existing clients read. */
  readonly message: string;
  /** The one parse that counts: connect to this, not to the text. Null when it cannot be parsed. */
  readonly url: URL | null;
}

/** Which rule keeps a caller from a URL. Callers ask anew for every redirect; addresses are checked where names are resolved. */
export function httpRefusal(
  target: string | URL,
  method: string,
  domains: AllOf,
  methods: readonly string[] | null,
): HttpDecision {
  const url = typeof target === 'string' ? URL.parse(target) : target;
  const no = (refusal: string, message: string): HttpDecision => ({ refusal, message, url });
  if (url === null) return no('http.bad-url', 'Permission denied: HTTP not allowed: the URL makes no sense');
  if (!Object.hasOwn(DEFAULT_PORTS, url.protocol)) {
    return no(
      `http.scheme:${url.protocol.slice(0, -1)}`,
      'Permission denied: HTTP not allowed: only http and https',
    );
  }
  // A name before the host is how one host is made to look like another.
  if (url.username !== '' || url.password !== '') {
    return no('http.credentials', 'Permission denied: HTTP not allowed: the URL has a user name');
  }
  const host = plainHost(url.hostname);
  const reached = domains.every((list) =>
    list.some((entry) => {
      const pattern = parseHostPattern(entry);
      return pattern !== null && hostMatches(pattern, host) && portMatches(pattern, url);
    }),
  );
  if (!reached) {
    return no(`domain.not-granted:${url.host}`, `Permission denied: domain not in whitelist: ${url.host}`);
  }
  if (methods !== null && !methods.includes(capitals(method))) {
    return no(`method.not-granted:${capitals(method)}`, 'Permission denied: HTTP method not allowed');
  }
  return { refusal: null, message: '', url };
}

/** Only of ASCII letters: some others have capitals that are ASCII. */
function capitals(method: string): string {
  return method.replace(/[a-z]/g, (letter) => letter.toUpperCase());
}

export function isHostWithin(a: string, b: string): boolean {
  const inner = parseHostPattern(a);
  const outer = parseHostPattern(b);
  if (inner === null) return true;
  if (outer === null) return false;
  if (outer.host === null) return true;
  if (inner.host === null || (outer.port !== '*' && inner.port !== outer.port)) return false;
  if (!outer.below) return !inner.below && inner.host === outer.host;
  return inner.host.endsWith(`.${outer.host}`) || (inner.below && inner.host === outer.host);
}
