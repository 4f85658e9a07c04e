// Patterns of hosts, paths and URLs. All of them match in time linear to their input: definitions may come from agents.

/** Text with `*` for anything, also nothing; compared without regard to case. */
export function compileGlob(pattern: string): (text: string) => boolean {
  const parts = pattern.toLowerCase().split('*');
  const first = parts[0] as string;
  const last = parts.at(-1) as string;
  if (parts.length === 1) return (text) => text.toLowerCase() === first;
  const middle = parts.slice(1, -1).filter((part) => part !== '');
  return (text) => {
    const lower = text.toLowerCase();
    if (lower.length < first.length + last.length || !lower.startsWith(first) || !lower.endsWith(last))
      return false;
    let at = first.length;
    const end = lower.length - last.length;
    for (const part of middle) {
      const found = lower.indexOf(part, at);
      if (found < 0 || found + part.length > end) return false;
      at = found + part.length;
    }
    return true;
  };
}

export interface HostPattern {
  /** Without a port; `*` alone and `*.` in front are wild cards. */
  readonly host: string;
  /** null = any. */
  readonly port: number | null;
}

/** null when the text is no pattern of a host. */
export function parseHostPattern(text: string): HostPattern | null {
  const [, host, port] =
    /^(\*|(?:\*\.)?[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/i.exec(text) ?? [];
  if (host === undefined || Number(port ?? 0) > 65_535) return null;
  return { host: host.toLowerCase(), port: port === undefined ? null : Number(port) };
}

/** Whether a name matches: `*.a.b` is what lies below `a.b`, not itself. */
export function matchesHost(pattern: HostPattern, host: string, port: number | null): boolean {
  if (pattern.port !== null && port !== null && pattern.port !== port) return false;
  const name = plainHost(host);
  if (pattern.host === '*') return true;
  if (pattern.host.startsWith('*.')) return name.endsWith(pattern.host.slice(1));
  return name === pattern.host;
}

/** Lower case, without the final dot that names the same host. */
export function plainHost(host: string): string {
  const lower = host.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

/** Any of several patterns; none given = all hosts. */
export function hostMatcher(
  patterns: readonly string[] | undefined,
): (host: string, port?: number) => boolean {
  if (patterns === undefined) return () => true;
  const compiled = patterns.flatMap((text) => parseHostPattern(text) ?? []);
  return (host, port) => compiled.some((pattern) => matchesHost(pattern, host, port ?? null));
}

export type PathParams = Readonly<Record<string, string>>;

/** `/users/:id/files/*`: `:name` is one segment, `*` at the end everything that is left, elsewhere one segment. */
export function compilePath(pattern: string): (path: string) => PathParams | null {
  const segments = pattern.replace(/^\//, '').split('/');
  const rest = segments.at(-1) === '*' || segments.at(-1) === '**';
  const fixed = rest ? segments.slice(0, -1) : segments;
  return (path) => {
    const parts = path.replace(/^\//, '').split('/');
    if (rest ? parts.length < fixed.length : parts.length !== fixed.length) return null;
    const params: Record<string, string> = {};
    for (const [index, segment] of fixed.entries()) {
      const part = decode(parts[index] as string);
      if (segment.startsWith(':')) {
        if (part === '') return null;
        params[segment.slice(1)] = part;
      } else if (segment !== '*' && segment !== part) return null;
    }
    if (rest) params.rest = parts.slice(fixed.length).map(decode).join('/');
    return params;
  };
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

const STANDARD_PORTS: Readonly<Record<string, number>> = {
  'http:': 80,
  'https:': 443,
  'ws:': 80,
  'wss:': 443,
};

export function portOf(url: URL): number {
  return url.port === '' ? (STANDARD_PORTS[url.protocol] ?? 0) : Number(url.port);
}
