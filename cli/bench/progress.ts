import type { BenchEvent, Progress } from '../../bench/events.ts';
import { metricAt } from '../../bench/metric.ts';
import type { Attempt, Presentation, RuntimeName, Trial } from '../../bench/types.ts';
import { escapeLine } from '../ui/escape.ts';
import { formatDuration, plural } from '../ui/format.ts';
import type { Terminal } from '../ui/terminal.ts';
import { figureText, parametersLine } from './figures.ts';

const BAR_CELLS = 40;
const TICK_MS = 1000;
/** Where lines are all there is: so long nothing is said before it is said what is waited for. */
const SILENCE_MS = 20_000;

/** Turns the events of a run into a live region on a terminal, and into plain lines elsewhere. */
export class BenchProgress {
  readonly #terminal: Terminal;
  readonly #presentation: Presentation;
  readonly #progress = new Map<RuntimeName, Progress>();
  readonly #running = new Map<string, { readonly what: string; readonly startedAtMs: number }>();
  readonly #timer: NodeJS.Timeout;
  #progressAtMs = 0;
  #lastLineAtMs = performance.now();
  #preparing: string | null = null;
  #waitingSinceMs = 0;
  #several = false;

  constructor(terminal: Terminal, presentation: Presentation) {
    this.#terminal = terminal;
    this.#presentation = presentation;
    this.#timer = setInterval(() => this.#tick(performance.now()), TICK_MS).unref();
  }

  /** Nothing is drawn any more. */
  close(): void {
    clearInterval(this.#timer);
    this.#terminal.endLive();
  }

  readonly listen = (event: BenchEvent): void => {
    this.#terminal.event({ type: event.kind, ...event });
    this.#lastLineAtMs = performance.now();
    switch (event.kind) {
      case 'run':
        this.#onRun(event);
        break;
      case 'prepare':
        for (const text of event.announcements) this.#terminal.note(`  ${escapeLine(text)}`);
        if (event.tasks > event.cached) {
          this.#preparing = `preparing inputs, once for every runtime: 0/${event.tasks}`;
          this.#waitingSinceMs = performance.now();
          if (this.#terminal.progress === 'plain') this.#terminal.note(`  ${this.#preparing}`);
        }
        break;
      case 'prepared': {
        this.#preparing =
          event.done < event.tasks
            ? `preparing inputs, once for every runtime: ${event.done}/${event.tasks}`
            : null;
        const how = event.preparation.from === 'cache' ? 'cached' : formatDuration(event.preparation.wallMs);
        if (event.preparation.from !== 'cache' || this.#terminal.verbose) {
          this.#terminal.note(`  prepared ${escapeLine(event.description)} (${how})`);
        }
        break;
      }
      case 'segment':
        if (this.#several && this.#terminal.progress === 'plain') {
          this.#terminal.note(
            `  ${event.runtime}: block ${event.block + 1} of ${event.blocks}, ${plural(event.trials, 'experiment')}`,
          );
        }
        break;
      case 'attempt-start':
        this.#running.set(`${event.runtime}/${event.trial.id}`, {
          what: `${event.trial.id} ${describeTrial(event.trial)}`,
          startedAtMs: performance.now(),
        });
        break;
      case 'attempt-end':
        this.#running.delete(`${event.attempt.runtime}/${event.trial.id}`);
        this.#onAttemptEnd(event.trial, event.attempt, event.willRetry);
        break;
      case 'progress':
        this.#progress.set(event.progress.runtime, event.progress);
        this.#progressAtMs = performance.now();
        break;
      case 'host-crash':
        this.#terminal.note(
          `  ${event.runtime}: the process that runs the experiments died: ${escapeLine(event.reason)}`,
        );
        break;
      case 'notice':
        if (event.isRemark) this.#terminal.note(`  ${escapeLine(event.text)}`);
        else this.#terminal.warn(escapeLine(event.text));
        break;
    }
    this.#draw();
  };

  #onRun(event: Extract<BenchEvent, { kind: 'run' }>): void {
    this.#several = event.runtimes.length > 1;
    const terminal = this.#terminal;
    terminal.note(
      `${terminal.style('bold', event.scenario.title)}: ${plural(event.trials, 'experiment')} on ${event.runtimes.join(', ')}, ${event.parallel} at a time`,
    );
    for (const source of event.provenance) {
      const line = `  data: ${escapeLine(source.name)}, ${source.rows} molecules`;
      terminal.note(source.kind === 'synthetic' ? terminal.style('yellow', line) : line);
    }
    terminal.note(`  run:  ${escapeLine(event.runDirectory)}`);
    if (event.resumed)
      terminal.note(`  resumed: ${plural(event.finished, 'outcome')} kept, nothing of them is run again`);
  }

  #onAttemptEnd(trial: Trial, attempt: Attempt, willRetry: boolean): void {
    const refuted = (attempt.result?.fleet?.checks ?? []).filter((check) => check.status === 'failed');
    const completed = attempt.end === 'completed';
    const failed = !completed || refuted.length > 0;
    // A terminal shows counts; only what went wrong is worth a line there.
    if (!failed && this.#terminal.progress === 'tty') return;
    const { primaryMetric } = this.#presentation;
    const value = attempt.result ? metricAt(attempt.result.metrics, primaryMetric.path) : null;
    const parts = [
      `  ${failed ? this.#terminal.style('red', '✗') : this.#terminal.style('green', '✓')}`,
      // What was interrupted has no outcome yet.
      this.#count(attempt.runtime, willRetry || attempt.end === 'interrupted'),
      trial.id,
      this.#several ? `[${attempt.runtime}]` : '',
      describeTrial(trial),
      !completed
        ? describeEnd(attempt)
        : failed
          ? escapeLine(`does not hold: ${refuted.map((check) => check.id).join(', ')}`)
          : `${primaryMetric.label} ${figureText(value, primaryMetric.path, this.#presentation)}`,
      formatDuration(attempt.usage.wallMs),
      failed && willRetry ? 'will be tried again' : '',
    ];
    this.#terminal.note(parts.filter((part) => part !== '').join('  '));
  }

  /** "7/48": which outcome of its runtime this is; nothing for an attempt that is none. */
  #count(runtime: RuntimeName, willRetry: boolean): string {
    const progress = this.#progress.get(runtime);
    if (progress === undefined) return '';
    const of = String(progress.trials);
    // The progress that comes behind this event counts it.
    const done = String(outcomesOf(progress) + 1).padStart(of.length);
    return willRetry ? ' '.repeat(2 * of.length + 1) : `${done}/${of}`;
  }

  #tick(nowMs: number): void {
    if (this.#terminal.progress === 'tty') this.#draw();
    if (this.#terminal.progress !== 'plain' || nowMs - this.#lastLineAtMs < SILENCE_MS) return;
    if (this.#running.size === 0 && this.#preparing === null) return;
    this.#lastLineAtMs = nowMs;
    this.#terminal.note(
      this.#running.size > 0
        ? `  … still running: ${this.#runningText(nowMs)}`
        : `  … still ${this.#preparing} (${formatDuration(nowMs - this.#waitingSinceMs)})`,
    );
  }

  #runningText(nowMs: number): string {
    const running = [...this.#running.values()];
    const shown = running
      .slice(0, 4)
      .map(({ what, startedAtMs }) =>
        nowMs - startedAtMs < TICK_MS ? what : `${what} (${formatDuration(nowMs - startedAtMs)})`,
      );
    return shown.join(' · ') + (running.length > 4 ? ' …' : '');
  }

  #draw(): void {
    const lines: string[] = [];
    if (this.#preparing) lines.push(`  ${this.#preparing}`);
    for (const progress of this.#progress.values()) lines.push(this.#bar(progress));
    if (this.#running.size > 0) lines.push(`  running: ${this.#runningText(performance.now())}`);
    if (lines.length > 0) this.#terminal.live(lines);
  }

  #bar(progress: Progress): string {
    const done = outcomesOf(progress);
    const sinceMs = progress.running > 0 ? performance.now() - this.#progressAtMs : 0;
    const cells = progress.trials === 0 ? BAR_CELLS : Math.round((done / progress.trials) * BAR_CELLS);
    const bar = `${'█'.repeat(cells)}${'░'.repeat(BAR_CELLS - cells)}`;
    const facts = [
      `${done}/${progress.trials}`,
      `${progress.running} running`,
      `${progress.queued} queued`,
      progress.failed > 0 ? this.#terminal.style('red', `${progress.failed} failed`) : '',
      progress.notMeasured > 0 ? this.#terminal.style('yellow', `${progress.notMeasured} not measured`) : '',
      progress.retries > 0 ? plural(progress.retries, 'retry', 'retries') : '',
      formatDuration(progress.elapsedMs + sinceMs),
      eta(progress),
    ];
    return `  ${progress.runtime.padEnd(10)} ${bar} ${facts.filter((fact) => fact !== '').join(' · ')}`;
  }
}

function outcomesOf({ passed, failed, notMeasured }: Progress): number {
  return passed + failed + notMeasured;
}

/** Time left by the cost that is done; silent until there is something to judge by. */
function eta(progress: Progress): string {
  if (progress.costDone <= 0 || progress.costDone >= progress.costTotal) return '';
  const leftMs = (progress.elapsedMs / progress.costDone) * (progress.costTotal - progress.costDone);
  return `about ${formatDuration(leftMs)} left`;
}

function describeTrial(trial: Trial): string {
  return escapeLine(parametersLine(trial.params));
}

function describeEnd(attempt: Attempt): string {
  const how: Readonly<Record<Attempt['end'], string>> = {
    completed: 'completed',
    error: `error: ${attempt.error?.message ?? 'unknown'}`,
    crashed: attempt.signal ? `crashed (${attempt.signal})` : `crashed (exit ${attempt.exitCode ?? '?'})`,
    timeout: 'timed out and was killed',
    oom: 'ran out of its memory limit and was killed',
    collateral: 'died with the process it shared',
    infrastructure: `could not be measured: ${attempt.error?.message ?? 'unknown'}`,
    interrupted: 'interrupted',
  };
  return escapeLine(how[attempt.end] + (attempt.fault ? ` [injected ${attempt.fault}]` : ''));
}
