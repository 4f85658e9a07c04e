// A kernel that may open few files: node descriptors-testing.ts THREADS. Runs an agent of so many threads that each sleep for an hour;
// prints the process's limit, its open files of other processes' threads while they slept, and what the clock says.
import { readdirSync, readlinkSync } from 'node:fs';
import { ClockFixture } from '../testing.ts';

const threads = Number(process.argv[2]);
const fixture = new ClockFixture('skip');
const lease = fixture.world.clock.lease('all threads are started');
const agent = fixture.start([
  'python3',
  '-c',
  `import threading, time
threads = [threading.Thread(target=time.sleep, args=(3600,)) for _ in range(${threads})]
for thread in threads: thread.start()
print("up", flush=True)
for thread in threads: thread.join()`,
]);
await agent.wrote('up');
lease[Symbol.dispose]();
let watched = 0;
while (agent.child.exitCode === null) {
  const files = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  watched = Math.max(
    watched,
    files.filter((name) => /^\/proc\/\d+\/(wchan|syscall|schedstat)$/.test(name)).length,
  );
  await new Promise((resolve) => setTimeout(resolve, 1));
}
const { code } = await agent.finished;
const { skippedMs, degradations } = fixture.world.clock.status();
await fixture.close();
process.stdout.write(`${JSON.stringify({ code, watched, skippedMs, degradations })}\n`);
