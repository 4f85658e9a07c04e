import { z } from 'zod';
import { corrupt } from '../snapshot/format.ts';

const text = z.string().max(2 ** 20);

/** A snapshot of an existing client's kernel. */
const schema = z.looseObject({
  name: z.string().max(256).nullish(),
  description: z.string().max(16_384).nullish(),
  vfs: z
    .looseObject({
      files: z
        .record(
          z.string(),
          z.looseObject({ content: text.default(''), mode: z.enum(['r', 'rw']).default('rw') }),
        )
        .default({}),
      readonly_patterns: z.array(z.string()).default([]),
      writable_patterns: z.array(z.string()).default([]),
      intercept_patterns: z.array(z.string()).default([]),
    })
    .nullish(),
  network: z.looseObject({}).nullish(),
  chaos: z
    .looseObject({
      rules: z.array(z.looseObject({ type: z.string(), pattern: z.string().nullish() })).default([]),
      active_events: z.array(z.string()).default([]),
      event_params: z.record(z.string(), z.unknown()).default({}),
    })
    .nullish(),
});

export interface LegacySnapshot {
  readonly name: string | null;
  /** As for WORLD_CREATE. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What went on, with its parameters. */
  readonly events: readonly { readonly type: string; readonly params: Readonly<Record<string, unknown>> }[];
}

/** @throws DATA_CORRUPT */
export function readLegacySnapshot(snapshot: unknown): LegacySnapshot {
  const parsed = schema.safeParse(snapshot);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw corrupt(`${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? ''}`);
  }
  const { name, description, vfs, network, chaos } = parsed.data;
  if (vfs === undefined && network === undefined && chaos === undefined) {
    throw corrupt('it has neither vfs, network nor chaos');
  }
  const config = {
    ...(name ? { name } : {}),
    ...(description ? { description } : {}),
    ...(vfs
      ? {
          virtual_filesystem: {
            initial_files: vfs.files,
            readonly_patterns: vfs.readonly_patterns,
            writable_patterns: vfs.writable_patterns,
            intercept_patterns: vfs.intercept_patterns,
          },
        }
      : { virtual_filesystem: {} }),
    ...(network ? { network } : {}),
    ...(chaos
      ? {
          chaos: {
            ...chaos,
            rules: chaos.rules.map(({ pattern, ...rule }) => ({
              ...rule,
              ...(rule.type.startsWith('file') ? { path_pattern: pattern } : { url_pattern: pattern }),
            })),
          },
        }
      : {}),
  };
  const paramsOf = (type: string) => {
    const params = chaos?.event_params[type];
    return typeof params === 'object' && params !== null ? (params as Record<string, unknown>) : {};
  };
  return {
    name: name ?? null,
    config,
    events: (chaos?.active_events ?? []).map((type) => ({ type, params: paramsOf(type) })),
  };
}
