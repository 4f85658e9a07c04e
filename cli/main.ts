import module from 'node:module';

// Before anything else is loaded: a warm cache halves the start-up.
module.enableCompileCache();

// Whoever reads our output may have seen enough (`clove bench list | head`): then we end like any program that is sent SIGPIPE.
const SIGPIPE_STATUS = 141;
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(SIGPIPE_STATUS);
  });

const { runCli } = await import('./program.ts');
process.exitCode = await runCli(process.argv.slice(2));
