// node births-testing.ts, best where /proc/loadavg does not tell of births. Runs an agent whose threads are born long after its start,
// each to work for a while; prints how much virtual and real time their work took, and what was skipped.
import { ClockFixture } from '../testing.ts';

const fixture = new ClockFixture('skip');
const agent = fixture.start([
  'python3',
  '-c',
  `import threading, time
worked = []
def work():
  start, end = time.monotonic(), time.thread_time() + 0.05
  while time.thread_time() < end: pass
  worked.append(time.monotonic() - start)
# The kernel lists the threads of whoever was just admitted in any case.
end = time.process_time() + 1.5
while time.process_time() < end: pass
for i in range(20):
  time.sleep(3600)
  thread = threading.Thread(target=work)
  thread.start()
  time.sleep(3600)
  thread.join()
print(max(worked))`,
]);
const { code, stdout, stderr, realMs } = await agent.finished;
const { skippedMs } = fixture.world.clock.status();
await fixture.close();
process.stdout.write(`${JSON.stringify({ code, stderr, longestS: Number(stdout), realMs, skippedMs })}\n`);
