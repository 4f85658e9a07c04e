import { CloveError } from '../../errors/index.ts';

/** Ports of other protocols that could take an HTTP request for their own: the list of the Fetch standard. */
const BAD_PORTS = new Set(
  (
    '0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 ' +
    '135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 ' +
    '995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080'
  ).split(' '),
);

const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 };

/** Names that mean this machine or its network wherever they are looked up. */
const PRIVATE_NAMES = /^(?:.+\.)?(?:localhost|local|internal|home\.arpa)$/;

/** A refusal that no grant can lift, or that grants decide. */
export function refused(ruleId: string, message: string, object: string): CloveError {
  return new CloveError('FORBIDDEN', message, { details: { rule: ruleId, object } });
}

/** The one parse of a URL that everything else goes by: checks, resolution, connection, Host header. @throws BAD_REQUEST, FORBIDDEN */
export function parseTarget(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href);
  if (url === null) throw new CloveError('BAD_REQUEST', 'invalid request: the URL makes no sense');
  const no = (rule: string, why: string) =>
    refused(rule, `Permission denied: HTTP not allowed: ${why}`, url.host);
  if (!Object.hasOwn(DEFAULT_PORTS, url.protocol)) throw no('http.scheme', 'only http and https');
  // A name before the host is how one host is made to look like another.
  if (url.username !== '' || url.password !== '') throw no('http.credentials', 'the URL has credentials');
  if (BAD_PORTS.has(url.port)) throw no('http.port', `port ${url.port} belongs to another protocol`);
  url.hash = '';
  return url;
}

export function portOf(url: URL): number {
  return url.port === '' ? (DEFAULT_PORTS[url.protocol] as number) : Number(url.port);
}

/** What to look up: without the brackets of an IPv6 address. */
export function hostOf(url: URL): string {
  return url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
}

export function isPrivateName(host: string): boolean {
  return PRIVATE_NAMES.test(host.replace(/\.$/, ''));
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** They ask for a tunnel, or for one's own headers back. */
const FORBIDDEN_METHODS = new Set(['CONNECT', 'TRACE', 'TRACK']);

/** In capitals: existing clients may write them as they like. @throws BAD_REQUEST, FORBIDDEN */
export function parseMethod(text: string): string {
  // Before the capitals: some letters that are no ASCII become some.
  if (!TOKEN.test(text) || text.length > 32) {
    throw new CloveError('BAD_REQUEST', 'invalid request: not an HTTP method');
  }
  const method = text.toUpperCase();
  if (FORBIDDEN_METHODS.has(method)) {
    throw refused('http.method', 'Permission denied: HTTP method not allowed', method);
  }
  return method;
}
