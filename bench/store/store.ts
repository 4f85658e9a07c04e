/**
 * The record of one run: one SQLite database in the run's folder. What a call changed survives the death of this process when it
 * returns; the end of an attempt survives that of the machine too.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CloveError } from '../../errors/index.ts';
import { processStartTicks } from '../measure/proc.ts';
import type { Attempt, LoadSample, RuntimeName, Trial } from '../types.ts';
import { type HostCrash, type RunDefinition, type RunFacts, type Segment, TABLES } from './schema.ts';

const DATABASE = 'run.db';
/** Samples are worth less than attempts: they wait for the next attempt's commit, or for this many of them. */
const SAMPLES_PER_COMMIT = 40;

/** An attempt that has begun: what is known before its end. */
export type AttemptStart = Pick<
  Attempt,
  'trialId' | 'runtime' | 'attempt' | 'startedAtMs' | 'queuedMs' | 'slot' | 'fault'
>;

export interface RunRecords {
  readonly definition: RunDefinition;
  readonly facts: RunFacts;
  readonly trials: readonly Trial[];
  readonly attempts: readonly Attempt[];
  readonly segments: readonly Segment[];
  readonly hostCrashes: readonly HostCrash[];
  readonly samples: readonly LoadSample[];
}

export class RunStore {
  readonly directory: string;
  readonly #db: DatabaseSync;
  readonly #statements: ReturnType<typeof prepareStatements>;
  #waitingSamples: LoadSample[] = [];
  #segmentId: number | bigint | null = null;

  private constructor(directory: string, db: DatabaseSync) {
    this.directory = directory;
    this.#db = db;
    this.#statements = prepareStatements(db);
  }

  /** Makes the folder and the record of a new run, locked by this process. Throws CONFLICT when the folder holds a run. */
  static create(directory: string, definition: RunDefinition, trials: readonly Trial[]): RunStore {
    mkdirSync(directory, { recursive: true });
    if (existsSync(join(directory, DATABASE)))
      throw new CloveError('CONFLICT', `${directory} holds a run already`);
    const store = new RunStore(directory, openDatabase(directory, false));
    store.#lock();
    store.#transaction('machine', () => {
      trials.forEach((trial, position) => {
        store.#statements.insertTrial.run(position, trial.id, trial.key, JSON.stringify(trial));
      });
      store.#putFact('preparations', []);
      store.#putFact('isolation', []);
      store.#putFact('notices', []);
      store.#putFact('boots', {});
      store.#putFact('status', 'running');
      store.#putFact('finishedAt', null);
      // Last: a record without a definition is one whose creation did not come to its end.
      store.#putFact('definition', definition);
    });
    return store;
  }

  /** Opens a run to go on with it. Throws RUN_NOT_FOUND, RUN_BUSY while a live process works on it. */
  static open(directory: string): RunStore {
    const store = new RunStore(directory, openDatabase(directory, true));
    try {
      store.#definition();
      store.#lock();
    } catch (error) {
      store.#db.close();
      throw error;
    }
    return store;
  }

  /** Everything recorded so far; also while another process works on the run. Throws RUN_NOT_FOUND. */
  static read(directory: string): RunRecords {
    const store = new RunStore(directory, openDatabase(directory, true));
    try {
      const records = store.records();
      // Whoever was killed could not write that it stopped.
      const stopped = records.facts.status === 'running' && store.#holder() === null;
      return stopped ? { ...records, facts: { ...records.facts, status: 'interrupted' } } : records;
    } finally {
      store.#db.close();
    }
  }

  records(): RunRecords {
    this.#flushSamples();
    const all = (sql: string) => this.#db.prepare(sql).all() as Record<string, string>[];
    const fact = <T>(name: keyof RunFacts): T => this.#fact(name) as T;
    const records = {
      definition: this.#definition(),
      facts: {
        preparations: fact<RunFacts['preparations']>('preparations'),
        isolation: fact<RunFacts['isolation']>('isolation'),
        notices: fact<RunFacts['notices']>('notices'),
        boots: fact<RunFacts['boots']>('boots'),
        status: fact<RunFacts['status']>('status'),
        finishedAt: fact<RunFacts['finishedAt']>('finishedAt'),
      },
      trials: all('SELECT json FROM trials ORDER BY position').map((row): Trial => parse(row.json)),
      attempts: all(
        'SELECT json FROM attempts WHERE ending IS NOT NULL ORDER BY runtime, trial_id, attempt',
      ).map((row): Attempt => parse(row.json)),
      segments: all(
        'SELECT runtime, block, started_ms AS startedAtMs, last_ms AS lastMs FROM segments ORDER BY id',
      ).map((row) => ({ ...row }) as unknown as Segment),
      hostCrashes: all('SELECT runtime, at_ms AS atMs, reason FROM host_crashes ORDER BY at_ms').map(
        (row) => ({ ...row }) as unknown as HostCrash,
      ),
      samples: all('SELECT json FROM samples ORDER BY at_ms').map((row): LoadSample => parse(row.json)),
    };
    return records;
  }

  /** Set before any of its work is done. */
  attemptStarted(start: AttemptStart): void {
    // Lost with the machine's power, it costs nothing but a repetition that would happen anyway.
    this.#transaction('process', () => {
      this.#writeSamples();
      this.#statements.insertAttempt.run(start.runtime, start.trialId, start.attempt, JSON.stringify(start));
      this.#touchSegment(start.startedAtMs);
    });
  }

  attemptEnded(attempt: Attempt): void {
    this.#transaction('machine', () => {
      this.#writeSamples();
      const { changes } = this.#statements.endAttempt.run(
        attempt.end,
        JSON.stringify(attempt),
        attempt.runtime,
        attempt.trialId,
        attempt.attempt,
      );
      if (Number(changes) !== 1)
        throw new CloveError(
          'INTERNAL',
          `attempt ${attempt.attempt} of ${attempt.trialId} under ${attempt.runtime} is not under way`,
        );
      this.#touchSegment(attempt.startedAtMs + attempt.usage.wallMs);
    });
  }

  /** Takes over what another run, or several, have recorded; for one that was just made. */
  importRecords({ facts, attempts, segments, samples, hostCrashes }: RunRecords): void {
    this.#transaction('machine', () => {
      for (const attempt of attempts) {
        const { runtime, trialId, end } = attempt;
        this.#statements.insertAttempt.run(runtime, trialId, attempt.attempt, JSON.stringify(attempt));
        this.#statements.endAttempt.run(end, JSON.stringify(attempt), runtime, trialId, attempt.attempt);
      }
      for (const { runtime, block, startedAtMs, lastMs } of segments)
        this.#statements.insertSegment.run(runtime, block, startedAtMs, lastMs);
      for (const sample of samples)
        this.#statements.insertSample.run(sample.runtime, sample.atMs, JSON.stringify(sample));
      for (const crash of hostCrashes) this.hostCrashed(crash);
      for (const [name, value] of Object.entries(facts)) this.#putFact(name, value);
    });
  }

  /** Attempts that a session which is no more has left open end as 'interrupted'. Returns how many. */
  closeOpenAttempts(): number {
    const open = this.#db.prepare('SELECT json FROM attempts WHERE ending IS NULL').all() as {
      json: string;
    }[];
    const lastMs = this.lastActivityMs();
    for (const row of open) {
      const start: AttemptStart = parse(row.json);
      this.attemptEnded({
        ...start,
        end: 'interrupted',
        exitCode: null,
        signal: null,
        error: null,
        usage: {
          wallMs: Math.max(0, lastMs - start.startedAtMs),
          startupMs: null,
          computeMs: null,
          cpuMs: null,
          memoryPeakBytes: null,
          memorySource: null,
        },
        logTail: '',
        result: null,
      });
    }
    return open.length;
  }

  /** The run's clock stands here when nobody works on it. */
  lastActivityMs(): number {
    const row = this.#db
      .prepare(
        'SELECT max(coalesce((SELECT max(last_ms) FROM segments), 0), coalesce((SELECT max(at_ms) FROM samples), 0)) AS last',
      )
      .get() as { last: number };
    return row.last;
  }

  beginSegment(runtime: RuntimeName, block: number, atMs: number): void {
    this.#segmentId = this.#statements.insertSegment.run(runtime, block, atMs, atMs).lastInsertRowid;
  }

  endSegment(atMs: number): void {
    this.#flushSamples();
    this.#touchSegment(atMs);
    this.#segmentId = null;
  }

  hostCrashed(crash: HostCrash): void {
    this.#statements.insertHostCrash.run(crash.runtime, crash.atMs, crash.reason);
  }

  addSample(sample: LoadSample): void {
    this.#waitingSamples.push(sample);
    if (this.#waitingSamples.length >= SAMPLES_PER_COMMIT) this.#flushSamples();
  }

  putFact<Name extends keyof RunFacts>(name: Name, value: RunFacts[Name]): void {
    this.#putFact(name, value);
  }

  /** All of them, or none. */
  putFacts(facts: Partial<RunFacts>): void {
    this.#transaction('machine', () => {
      for (const [name, value] of Object.entries(facts)) this.#putFact(name, value);
    });
  }

  fact<Name extends keyof RunFacts>(name: Name): RunFacts[Name] {
    return this.#fact(name) as RunFacts[Name];
  }

  /** Gives up the lock and closes the database. */
  close(): void {
    this.#flushSamples();
    this.#db.exec('DELETE FROM lock');
    this.#db.close();
  }

  #definition(): RunDefinition {
    const definition = this.#fact('definition');
    if (definition === null)
      throw new CloveError('RUN_NOT_FOUND', `${this.directory} holds no complete record of a run`);
    return definition as RunDefinition;
  }

  /** The live process that works on the run, or null. */
  #holder(): number | null {
    const row = this.#db.prepare('SELECT pid, start_ticks, boot_id FROM lock').get() as
      | { pid: number; start_ticks: string; boot_id: string }
      | undefined;
    const lives =
      row !== undefined && row.boot_id === bootId() && processStartTicks(row.pid) === row.start_ticks;
    return lives ? row.pid : null;
  }

  #lock(): void {
    const own = { pid: process.pid, ticks: processStartTicks(process.pid) ?? '', boot: bootId() };
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const holder = this.#holder();
      if (holder !== null)
        throw new CloveError('RUN_BUSY', `process ${holder} is working on ${this.directory}`, {
          hint: 'Wait for it, or stop it with Ctrl-C.',
        });
      this.#db.prepare('INSERT OR REPLACE INTO lock VALUES (1, ?, ?, ?)').run(own.pid, own.ticks, own.boot);
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  #fact(name: string): unknown {
    const row = this.#statements.getFact.get(name) as { json: string } | undefined;
    return row === undefined ? null : JSON.parse(row.json);
  }

  #putFact(name: string, value: unknown): void {
    this.#statements.putFact.run(name, JSON.stringify(value));
  }

  #touchSegment(atMs: number): void {
    if (this.#segmentId !== null) this.#statements.touchSegment.run(atMs, this.#segmentId);
  }

  #flushSamples(): void {
    if (this.#waitingSamples.length > 0) this.#transaction('process', () => this.#writeSamples());
  }

  #writeSamples(): void {
    for (const sample of this.#waitingSamples)
      this.#statements.insertSample.run(sample.runtime, sample.atMs, JSON.stringify(sample));
    this.#waitingSamples = [];
  }

  #transaction(survives: 'process' | 'machine', work: () => void): void {
    this.#db.exec(`PRAGMA synchronous = ${survives === 'machine' ? 'FULL' : 'NORMAL'}; BEGIN IMMEDIATE`);
    try {
      work();
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }
}

function prepareStatements(db: DatabaseSync) {
  return {
    getFact: db.prepare('SELECT json FROM facts WHERE name = ?'),
    putFact: db.prepare('INSERT OR REPLACE INTO facts VALUES (?, ?)'),
    insertTrial: db.prepare('INSERT INTO trials VALUES (?, ?, ?, ?)'),
    insertAttempt: db.prepare('INSERT INTO attempts VALUES (?, ?, ?, NULL, ?)'),
    endAttempt: db.prepare(
      'UPDATE attempts SET ending = ?, json = ? WHERE runtime = ? AND trial_id = ? AND attempt = ? AND ending IS NULL',
    ),
    insertSegment: db.prepare(
      'INSERT INTO segments (runtime, block, started_ms, last_ms) VALUES (?, ?, ?, ?)',
    ),
    touchSegment: db.prepare('UPDATE segments SET last_ms = max(last_ms, ?) WHERE id = ?'),
    insertHostCrash: db.prepare('INSERT INTO host_crashes VALUES (?, ?, ?)'),
    insertSample: db.prepare('INSERT INTO samples VALUES (?, ?, ?)'),
  };
}

function openDatabase(directory: string, mustExist: boolean): DatabaseSync {
  const path = join(directory, DATABASE);
  if (mustExist && !existsSync(path))
    throw new CloveError('RUN_NOT_FOUND', `there is no run in ${directory}`, {
      hint: 'clove bench list shows the runs there are.',
    });
  const db = new DatabaseSync(path, { timeout: 5_000 });
  // FULL: synced with every commit, so that a result is not lost even when the machine loses its power right after.
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
  db.exec(TABLES);
  return db;
}

function parse<T>(json: string | undefined): T {
  return JSON.parse(json ?? 'null');
}

let knownBootId: string | undefined;
function bootId(): string {
  knownBootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return knownBootId;
}
