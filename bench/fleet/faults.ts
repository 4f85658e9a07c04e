/** Faults of a fleet: whom they hit and when is drawn from the seed, so that a trial can be repeated. */
import type { FleetRun } from './fleet.ts';
import type { FleetFault } from './types.ts';

const DEFAULT_PAUSE_MS = 1000;

export interface PlannedFault {
  readonly kind: FleetFault['kind'];
  readonly agent: string;
  readonly afterMs: number;
  readonly forMs: number;
}

/** Pure. At most as many victims as a role has agents. */
export function planFaults(
  faults: readonly FleetFault[],
  agentsOf: (role: string) => readonly string[],
  luck: Pick<FleetRun<unknown>, 'luck'>['luck'],
): PlannedFault[] {
  return faults
    .flatMap(({ kind, role, count, betweenMs: [from, to], forMs }, index) => {
      const stream = luck.stream(`fleet-faults/${index}`);
      const victims = stream.shuffle(agentsOf(role)).slice(0, count);
      return victims.map((agent) => ({
        kind,
        agent,
        afterMs: from + stream.next() * (to - from),
        forMs: forMs ?? DEFAULT_PAUSE_MS,
      }));
    })
    .sort((a, b) => a.afterMs - b.afterMs);
}

/** Sets the timers; what they do ends with the trial. */
export function applyFaults<Facts>(faults: readonly FleetFault[], fleet: FleetRun<Facts>): void {
  const agentsOf = (role: string) =>
    fleet.agents.filter((agent) => agent.role === role).map((agent) => agent.name);
  for (const fault of planFaults(faults, agentsOf, fleet.luck)) {
    const timer = setTimeout(() => {
      apply(fault, fleet).catch((error: unknown) =>
        fleet.log(`fault ${fault.kind} of ${fault.agent}: ${String(error)}`),
      );
    }, fault.afterMs);
    fleet.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  }
}

async function apply<Facts>({ kind, agent, forMs }: PlannedFault, fleet: FleetRun<Facts>): Promise<void> {
  const { id } = fleet.agent(agent);
  if (kind === 'pause') {
    fleet.mark('fault', `paused for ${forMs} ms`, agent);
    await fleet.client.pause(id);
    await new Promise((resolve) => setTimeout(resolve, forMs));
    await fleet.client.resume(id);
    return;
  }
  // KILL would be the operator's word, after which nothing comes back: this is a signal out of nowhere.
  const { pid } = (await fleet.client.list()).find((row) => row.id === id) ?? { pid: 0 };
  if (pid <= 1) return;
  fleet.mark('fault', 'killed from outside', agent);
  process.kill(pid, 'SIGKILL');
}
