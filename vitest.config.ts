import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['**/*.test.ts'],
    exclude: ['node_modules/**', 'dist/**', 'build/**'],
    setupFiles: ['test/property-seed.ts'],
    pool: 'forks',
    // Two cores: more files at once only make the sandbox and browser tests wait for each other.
    maxWorkers: 2,
    testTimeout: 180_000,
    hookTimeout: 240_000,
    // A shared machine stalls; what passes only at a second try is named at the end of the run.
    retry: 1,
  },
});
