import fc from 'fast-check';

/**
 * Property tests draw from one seed, so that two runs of one commit judge alike. CLOVE_TEST_SEED=<n> takes another,
 * CLOVE_TEST_SEED=random a new one for each property (printed when it fails).
 */
const given = process.env.CLOVE_TEST_SEED ?? '20261120';
if (given !== 'random') {
  const seed = Number(given);
  if (!Number.isSafeInteger(seed))
    throw new Error(`CLOVE_TEST_SEED is a whole number or "random", not ${given}`);
  fc.configureGlobal({ ...fc.readConfigureGlobal(), seed });
}
