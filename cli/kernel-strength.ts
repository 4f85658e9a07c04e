import { isMissing } from '../native/missing.ts';

/**
 * What a user who is not root should know before the first agent is refused, in one line; null = nothing. Root has every layer, or
 * learns more from `clove doctor`.
 */
export async function refusalToExpect(flags: {
  readonly sandbox: boolean;
  readonly require?: string;
}): Promise<string | null> {
  if (!flags.sandbox || (flags.require ?? 'full') !== 'full' || process.geteuid?.() === 0) return null;
  const { diagnose } = await import('../kernel/doctor/diagnose.ts');
  // What keeps the kernel from starting at all, it says itself.
  const diagnosis = await diagnose().catch(() => null);
  if (diagnosis === null || diagnosis.strength === 'full') return null;
  const layers = diagnosis.layers.filter(isMissing).map(({ layer }) => layer);
  const lacking = layers.length === 0 ? 'sandboxes' : layers.join(', ');
  const less = diagnosis.strength === 'reduced' ? 'reduced' : 'least';
  return `this user cannot have ${lacking}: agents that do not say they can do without are refused; go on with --require ${less}, or as root (clove doctor tells why)`;
}
