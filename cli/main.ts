import module from 'node:module';

// Before anything else is loaded: a warm cache halves the start-up.
module.enableCompileCache();

const { runCli } = await import('./program.ts');
process.exitCode = await runCli(process.argv.slice(2));
