import { MAX_ANSWER_BYTES } from '../../kernel/protocol/constants.ts';
import { legacyChaosOf } from '../legacy/chaos.ts';
import type { World } from '../world.ts';
import { corrupt } from './format.ts';
import { type Packed, tooLarge, verified } from './pack.ts';

/** Room for the rest of the answer, and for what JSON makes of quotes. */
const MAX_CONTENT_BYTES = MAX_ANSWER_BYTES / 4;

/**
 * A snapshot as the answer to WORLD_SNAPSHOT: the members existing clients know, and under `clove` all of it. What stands as
 * text under `vfs` does not stand there twice. @throws PAYLOAD_TOO_LARGE
 */
export function toWire(world: World, { id, body, blocks }: Packed): Record<string, unknown> {
  const total = [...blocks.values()].reduce((sum, { length }) => sum + length, 0);
  if (total > MAX_CONTENT_BYTES) throw tooLarge(total);
  const { definition } = world.parts;
  const shown = new Set<string>();
  const files: Record<string, unknown> = {};
  for (const entry of body.image.files?.entries ?? []) {
    if (entry.hash === undefined) continue;
    const content = blocks.get(entry.hash) as Buffer;
    const text = textOf(content);
    if (text !== null) shown.add(entry.hash);
    files[entry.path] = {
      content: text ?? '',
      ...(text === null ? { binary: true } : {}),
      mode: (entry.mode & 0o222) === 0 ? 'r' : 'rw',
      created_at: entry.mtimeMs,
      modified_at: entry.mtimeMs,
    };
  }
  // Rules stand in `rules`: an existing client that restores this must not have them twice.
  const happening = world.chaos.happening();
  const rules = definition.files === 'own' ? null : definition.files;
  const network = definition.network === 'own' ? null : definition.network;
  return {
    id: world.id,
    name: world.name,
    description: definition.description,
    config: body.origin.kind === 'inline' ? body.origin.definition : body.origin,
    vfs: {
      files,
      readonly_patterns: rules?.readonly ?? [],
      writable_patterns: rules?.writable ?? [],
      intercept_patterns: rules?.intercept ?? [],
    },
    network: {
      mode: network?.mode ?? 'passthrough',
      fail_unmatched: false,
      mock_responses: Object.fromEntries(
        Object.entries(network?.mocks ?? {}).map(([url, mock]) => [url, responseOf(mock)]),
      ),
      ...(network?.default_response == null
        ? {}
        : { default_response: responseOf(network.default_response) }),
      allowed_domains: network?.allow ?? [],
      recorded: [],
    },
    chaos: {
      enabled: world.chaos.ruleCount > 0,
      ...legacyChaosOf(definition.chaos),
      active_events: happening.map(({ kind }) => kind),
      event_params: Object.fromEntries(happening.map(({ kind, params }) => [kind, params])),
    },
    agents: world.memberIds(),
    snapshot_time: Date.parse(body.taken_at),
    clove: {
      id,
      body,
      blocks: Object.fromEntries(
        [...blocks]
          .filter(([hash]) => !shown.has(hash))
          .map(([hash, content]) => [hash, content.toString('base64')]),
      ),
    },
  };
}

/** null = it is one of an existing client's kernel. @throws DATA_CORRUPT */
export function fromWire(snapshot: Readonly<Record<string, unknown>>): Packed | null {
  const { clove, vfs } = snapshot as { clove?: unknown; vfs?: { files?: unknown } };
  if (clove === undefined) return null;
  if (typeof clove !== 'object' || clove === null) throw corrupt('`clove` is no object');
  const { id, body, blocks: given } = clove as { id?: unknown; body?: unknown; blocks?: unknown };
  const blocks = new Map<string, Buffer>();
  for (const [hash, data] of Object.entries(given ?? {})) {
    if (typeof data !== 'string') throw corrupt('a content is no text');
    blocks.set(hash, Buffer.from(data, 'base64'));
  }
  // The rest stands as text under its paths.
  const shown = new Map<string, unknown>(Object.entries(vfs?.files ?? {}));
  const entries = (body as { image?: { files?: { entries?: unknown } | null } } | undefined)?.image?.files
    ?.entries;
  for (const entry of Array.isArray(entries) ? entries : []) {
    const { path, hash } = (entry ?? {}) as { path?: unknown; hash?: unknown };
    if (typeof path !== 'string' || typeof hash !== 'string' || blocks.has(hash)) continue;
    const content = (shown.get(path) as { content?: unknown } | undefined)?.content;
    if (typeof content === 'string') blocks.set(hash, Buffer.from(content));
  }
  return verified(String(id), body, blocks);
}

/** null = it is no text that JSON carries as it is. */
function textOf(content: Buffer): string | null {
  const text = content.toString('utf8');
  return Buffer.from(text).equals(content) && text.isWellFormed() ? text : null;
}

/** Existing clients know an answer by its members; what is text alone is a body. */
function responseOf(mock: unknown): unknown {
  return typeof mock === 'string' ? { status: 200, body: mock, latency_ms: 0, headers: {} } : mock;
}
