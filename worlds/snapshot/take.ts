import type { Caller } from '../../kernel/identity.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { imageOf, type WorldImage } from '../image.ts';
import { keptAgents } from '../kept-agents.ts';
import type { World } from '../world.ts';
import { SNAPSHOT_FORMAT, SNAPSHOT_VERSION } from './format.ts';
import { type Packed, pack } from './pack.ts';

/** What waits in the mailboxes of others is no business of an agent, wherever it came from. */
export function imageFor(world: World, caller: Caller, kernel: Kernel): WorldImage {
  const { mailboxes } = kernel;
  return imageOf(
    world,
    (memberId) => (caller.kind === 'operator' || memberId === caller.id ? mailboxes.peek(memberId) : []),
    // What others were started from is no business of an agent either.
    caller.kind === 'operator' ? keptAgents(world, kernel) : [],
  );
}

/** A world as it is, with all that is needed to make it again. */
export function packFor(world: World, caller: Caller, kernel: Kernel): Packed {
  const { files, origin } = world.parts;
  const body = {
    format: SNAPSHOT_FORMAT,
    version: SNAPSHOT_VERSION,
    world_id: world.id,
    name: world.name,
    seed: world.parts.seed,
    taken_at: new Date().toISOString(),
    origin: withoutContents(origin),
    image: imageFor(world, caller, kernel),
  } as const;
  // Through JSON: what is hashed is what will be read.
  return pack(JSON.parse(JSON.stringify(body)), (hash) => (files as NonNullable<typeof files>).content(hash));
}

/** Contents are in the tree of the snapshot; the definition need not have them again. */
function withoutContents(origin: World['parts']['origin']): World['parts']['origin'] {
  if (origin.kind !== 'inline') return origin;
  const { files } = origin.definition;
  if (typeof files !== 'object' || files === null) return origin;
  const { initial: _, from: __, ...rules } = files as Readonly<Record<string, unknown>>;
  return { kind: 'inline', definition: { ...origin.definition, files: rules } };
}
