// A kernel that will be killed: node coordinator-testing.ts MODE FILE. Runs an agent that sleeps half a second again and again and
// writes to the file, per line, how long that took in its own time and really.
import { ClockFixture } from '../testing.ts';

const [mode = 'skip', file = ''] = process.argv.slice(2);
const PROGRAM = `
import sys, time
def really():
    return float(open("/proc/uptime").read().split()[0])
with open(sys.argv[1], "w") as out:
    while True:
        real = really()
        virtual = time.monotonic()
        time.sleep(0.5)
        virtual = time.monotonic() - virtual
        print(virtual, really() - real, file=out, flush=True)
`;
const fixture = new ClockFixture({ mode: mode as 'skip' | 'step' });
const { child } = fixture.start(['python3', '-c', PROGRAM, file]);
process.stdout.write(`${child.pid} ${fixture.groups[0]}\n`);
