import { randomUUID } from 'node:crypto';
import type { Sandbox } from '../../native/types.ts';
import { execCheck } from './exec-check.ts';
import { type Health, HealthState } from './health-state.ts';
import { afterLiveMs } from './live-timer.ts';
import type { HealthPlan, ReadyPlan } from './plan.ts';

export interface WatchOptions {
  readonly sandbox: Pick<Sandbox, 'exec'>;
  readonly ready: ReadyPlan;
  readonly health: HealthPlan | null;
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Calls that the agent has made so far, whatever they were. */
  readonly calls: () => number;
  /** Whether it holds a name. */
  readonly hasName: (name: string) => boolean;
  /** Puts a ping into its mailbox. @throws OVERLOAD … */
  readonly ping: (nonce: string) => void;
  readonly onReady: () => void;
  /** Was not ready in time. */
  readonly onUnready: () => void;
  readonly onHealth: (health: 'healthy' | 'unhealthy', failures: number, reason: string) => void;
}

/** One incarnation of an agent under watch: whether it is ready, and whether it is well. Frozen agents are not judged. */
export class Watch {
  readonly #options: WatchOptions;
  readonly #state: HealthState | null;
  readonly #startedMs = performance.now();
  #timer: NodeJS.Timeout | null = null;
  #endReadyTimer: () => void = () => {};
  #isReady = false;
  #isPaused = false;
  #isClosed = false;
  #calls: number;
  #seenMs = performance.now();
  /** What is to be answered, and who waits for that. */
  #awaited: { readonly nonce: string; readonly answered: PromiseWithResolvers<boolean> } | null = null;

  constructor(options: WatchOptions) {
    this.#options = options;
    const { health, ready } = options;
    this.#state = health === null ? null : new HealthState(health.failures, health.startMs);
    this.#calls = health?.check === 'heartbeat' ? options.calls() : 0;
    if (ready.on !== 'start') this.#endReadyTimer = afterLiveMs(ready.timeoutMs, () => options.onUnready());
  }

  /** After the constructor, so that whoever is told knows whom to ask. */
  start(): void {
    const { ready, health } = this.#options;
    if (ready.on === 'start' || (ready.on === 'name' && this.#options.hasName(ready.name)))
      this.#becomeReady();
    // The first check soon: somebody may wait for it.
    if (health !== null) this.#schedule(Math.min(health.intervalMs, 100));
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  get health(): Health {
    return this.#state?.health ?? 'none';
  }

  /** It says so itself. */
  notifyReady(): void {
    if (this.#options.ready.on === 'notify') this.#becomeReady();
  }

  nameTaken(name: string): void {
    const { ready } = this.#options;
    if (ready.on === 'name' && ready.name === name) this.#becomeReady();
  }

  /** Whether this was the ping that is out. */
  pong(nonce: string): boolean {
    if (this.#awaited?.nonce !== nonce) return false;
    this.#awaited.answered.resolve(true);
    return true;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#seenMs = performance.now();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#endReadyTimer();
    this.#awaited?.answered.resolve(false);
  }

  #becomeReady(): void {
    if (this.#isReady || this.#isClosed) return;
    this.#isReady = true;
    this.#endReadyTimer();
    this.#options.onReady();
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed) return;
    const dueMs = performance.now() + delayMs;
    this.#timer = setTimeout(() => void this.#check(performance.now() - dueMs), delayMs);
  }

  /** `lateMs`: how long this process was too busy to look. That is not held against the agent. */
  async #check(lateMs: number): Promise<void> {
    const { health } = this.#options;
    if (health === null) return;
    const reason = this.#isPaused ? null : await this.#fault(health, lateMs);
    if (this.#isClosed) return;
    if (!this.#isPaused && reason !== undefined) this.#judge(health, reason);
    this.#schedule(
      health.check === 'heartbeat'
        ? Math.max(10, Math.min(health.intervalMs, health.timeoutMs / 3))
        : health.intervalMs,
    );
  }

  #judge(health: HealthPlan, reason: string | null): void {
    const state = this.#state as HealthState;
    const turned = state.record(reason === null, performance.now() - this.#startedMs);
    if (state.health === 'healthy' && this.#options.ready.on === 'health') this.#becomeReady();
    if (turned !== null) this.#options.onHealth(turned, state.failures, reason ?? '');
    else if (state.health === 'unhealthy' && reason !== null && health.action === 'restart') {
      // Was unhealthy before it could be ended.
      this.#options.onHealth('unhealthy', state.failures, reason);
    }
  }

  /** null = it is well; undefined = nothing can be said. */
  #fault(health: HealthPlan, lateMs: number): Promise<string | null | undefined> {
    if (health.check === 'exec') {
      const { sandbox, env, cwd } = this.#options;
      return execCheck(sandbox, { argv: health.command, env, cwd, timeoutMs: health.timeoutMs });
    }
    if (health.check === 'ping') return this.#pingFault(health);
    return Promise.resolve(this.#heartbeatFault(health, lateMs));
  }

  #heartbeatFault(health: HealthPlan, lateMs: number): string | null | undefined {
    const calls = this.#options.calls();
    const now = performance.now();
    if (calls !== this.#calls) {
      this.#calls = calls;
      this.#seenMs = now;
      return null;
    }
    this.#seenMs += lateMs;
    const silentMs = now - this.#seenMs;
    return silentMs < health.timeoutMs ? undefined : `no call for ${Math.round(silentMs)} ms`;
  }

  async #pingFault(health: HealthPlan): Promise<string | null> {
    let awaited = this.#awaited;
    if (awaited === null) {
      awaited = { nonce: randomUUID(), answered: Promise.withResolvers<boolean>() };
      try {
        this.#options.ping(awaited.nonce);
      } catch (error) {
        return `no ping could be sent: ${error instanceof Error ? error.message : String(error)}`;
      }
      this.#awaited = awaited;
    }
    const late = Promise.withResolvers<boolean>();
    const endTimer = afterLiveMs(health.timeoutMs, () => late.resolve(false));
    const answered = await Promise.race([awaited.answered.promise, late.promise]);
    endTimer();
    // One that is not answered stays out: a mailbox is not filled with them.
    if (answered) this.#awaited = null;
    return answered ? null : `no answer to a ping within ${health.timeoutMs} ms`;
  }
}
