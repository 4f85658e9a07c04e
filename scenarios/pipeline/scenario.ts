import { extname } from 'node:path';
import {
  type Fleet,
  type FleetScenario,
  historyOf,
  type Observation,
  percentiles,
} from '../../bench/fleet/index.ts';

const MIB = 2 ** 20;
const QUESTIONS = 60;
/** After how many answers the question comes that the reasoner cannot bear. */
const POISON_AFTER = 20;
const POISON_ID = 10_000;
const ANSWER_LIMIT_MS = 30_000;
const STAGES = ['parser', 'reasoner', 'verifier'];

const agent = (file: string) => new URL(`./agents/${file}`, import.meta.url);
const restart = { policy: 'on-failure', backoffMs: 20, backoffMaxMs: 100 } as const;

const pipeline: FleetScenario = {
  kind: 'fleet',
  name: 'pipeline',
  title: 'Pipeline: parser → reasoner → verifier, with a poisoned question in between',
  description:
    'Three agents in two languages hand questions on to each other. One question makes the reasoner take memory without end: it is killed by its limit and brought back, and every other question is answered.',
  version: '1',
  roles: {
    parser: {
      title: 'understands the question (Python)',
      program: { script: agent('parser.py') },
      limits: { memory: 96 * MIB, cpu: 1, max_pids: 16 },
      restart,
    },
    reasoner: {
      title: 'works it out (TypeScript)',
      program: { script: agent(`reasoner${extname(import.meta.filename)}`) },
      limits: { memory: 112 * MIB, cpu: 1, max_pids: 32 },
      restart,
    },
    verifier: {
      title: 'works it out once more (Python)',
      program: { script: agent('verifier.py') },
      limits: { memory: 96 * MIB, cpu: 1, max_pids: 16 },
      restart,
    },
  },
  variants: { inFlight: [1, 8] },
  budgets: { wallMs: 120_000, memoryBytes: 320 * MIB, agents: 3 },
  metrics: [
    { path: 'latencyMs.p50', label: 'Question to answer, p50 (ms)', format: '.1f', higherIsBetter: false },
    { path: 'latencyMs.p95', label: 'p95 (ms)', format: '.1f', higherIsBetter: false },
    { path: 'latencyMs.p99', label: 'p99 (ms)', format: '.1f', higherIsBetter: false },
    { path: 'answersPerSecond', label: 'Answers per second', format: '.0f', higherIsBetter: true },
    {
      path: 'recoveryMs',
      label: 'From the poison to the next answer (ms)',
      format: '.0f',
      higherIsBetter: false,
    },
  ],
  harmlessUnprotected: true,

  async oracle(fleet) {
    const asked = questionsOf(fleet);
    await fleet.start();
    const belt = new Belt(fleet, asked);
    await fleet.check('answered', `Every one of ${QUESTIONS} questions is answered, rightly`, () =>
      belt.run(),
    );
    await fleet.check(
      'poison-contained',
      'The poisoned question costs its reader one life, and is never answered',
      () => poison(fleet),
    );
    await fleet.check('others-untouched', 'Parser and verifier live through it', () => untouched(fleet));
    await fleet.check('route', 'Every answer has come from the verifier, by way of all three', () =>
      belt.route(),
    );
    belt.measure();
  },
};

export default pipeline;

interface Question {
  readonly id: number;
  readonly text: string;
  readonly answer: number;
}

function questionsOf(fleet: Fleet): Question[] {
  const stream = fleet.luck.stream('questions');
  return Array.from({ length: QUESTIONS }, (_, id) => {
    const a = stream.integer(100, 999);
    const b = stream.integer(1, 99);
    const [word, answer] = stream.pick([
      ['plus', a + b],
      ['minus', a - b],
      ['times', a * b],
    ] as const);
    return { id, text: `What is ${a} ${word} ${b}?`, answer };
  });
}

interface Answer {
  readonly result: number;
  readonly verified: boolean;
  readonly hops: readonly string[];
  readonly fromId: number;
}

/** Keeps so many questions under way at a time, and takes the time of each. */
class Belt {
  readonly answers = new Map<number, Answer>();
  readonly #fleet: Fleet;
  readonly #questions: readonly Question[];
  readonly #latencies: number[] = [];
  #wallMs = 0;
  #poisonedAtMs: number | null = null;
  #recoveredAtMs: number | null = null;
  #again = 0;

  constructor(fleet: Fleet, questions: readonly Question[]) {
    this.#fleet = fleet;
    this.#questions = questions;
  }

  async run(): Promise<Observation> {
    const [first] = this.#questions;
    // Not counted: the agents are only starting.
    if (first !== undefined) await this.#answered(first, 40_000);
    const startedAtMs = this.#fleet.nowMs();
    const rest = this.#questions.slice(1);
    const worker = async () => {
      for (let question = rest.shift(); question !== undefined; question = rest.shift()) {
        if (this.answers.size >= POISON_AFTER && this.#poisonedAtMs === null) await this.#poison();
        const latencyMs = await this.#answered(question, ANSWER_LIMIT_MS);
        this.#latencies.push(latencyMs);
        this.#fleet.point('question to answer', 'ms', latencyMs);
      }
    };
    await Promise.all(Array.from({ length: Number(this.#fleet.params.inFlight) }, worker));
    this.#wallMs = this.#fleet.nowMs() - startedAtMs;
    const right = this.#questions.filter(({ id, answer }) => {
      const given = this.answers.get(id);
      return given?.result === answer && given.verified;
    }).length;
    return {
      holds: right === QUESTIONS,
      observed: `${right} of ${QUESTIONS} answers are right${this.#again > 0 ? `; ${this.#again} had gone down with the reasoner and were asked again` : ''}`,
      evidence: [
        {
          source: 'message',
          text: this.#questions
            .slice(0, 3)
            .map(({ id, text }) => `${text} ${this.answers.get(id)?.result}`)
            .join('  '),
        },
      ],
    };
  }

  route(): Observation {
    const verifier = this.#fleet.agent('verifier').id;
    const all = [...this.answers.values()];
    const wrong = all.filter(({ fromId, hops }) => fromId !== verifier || hops.join() !== STAGES.join());
    return {
      holds: all.length >= QUESTIONS && wrong.length === 0,
      observed: `${all.length - wrong.length} of ${all.length} answers came that way`,
      evidence: [
        {
          source: 'message',
          text: `sender of the answers as the kernel names it: agent ${verifier}, "verifier"`,
        },
      ],
    };
  }

  measure(): void {
    const figures = percentiles(this.#latencies);
    for (const key of ['p50', 'p95', 'p99', 'max'] as const)
      this.#fleet.metric(`latencyMs.${key}`, figures?.[key] ?? null);
    this.#fleet.metric(
      'answersPerSecond',
      this.#wallMs > 0 ? this.#latencies.length / (this.#wallMs / 1000) : null,
    );
    this.#fleet.metric(
      'recoveryMs',
      this.#poisonedAtMs === null || this.#recoveredAtMs === null
        ? null
        : this.#recoveredAtMs - this.#poisonedAtMs,
    );
  }

  /** Time from question to answer. A question that the reasoner may have had in hand when it died is asked once more. */
  async #answered({ id, text }: Question, timeoutMs: number): Promise<number> {
    const startedAtMs = this.#fleet.nowMs();
    let isOpen = true;
    const arrived = this.#fleet.message(({ message }) => (message as { id?: number }).id === id, {
      timeoutMs,
      what: `an answer to "${text}"`,
    });
    this.#fleet
      .event(
        ({ type, agent: name, atMs }) =>
          type === 'AGENT_SPAWNED' && name === 'reasoner' && atMs > startedAtMs,
        {
          timeoutMs,
        },
      )
      .then(async () => {
        if (!isOpen) return;
        this.#again++;
        await this.#fleet.send('parser', { id, text });
      })
      // It did not die meanwhile.
      .catch(() => {});
    await this.#fleet.send('parser', { id, text });
    const { message, from_id } = await arrived;
    isOpen = false;
    const now = this.#fleet.nowMs();
    const answer = message as unknown as Omit<Answer, 'fromId'>;
    this.answers.set(id, { ...answer, fromId: from_id });
    if (this.#poisonedAtMs !== null && this.#lives() > 1) this.#recoveredAtMs ??= now;
    return now - startedAtMs;
  }

  async #poison(): Promise<void> {
    this.#poisonedAtMs = this.#fleet.nowMs();
    this.#fleet.mark('fault', 'the poisoned question', 'reasoner');
    await this.#fleet.send('parser', { id: POISON_ID, text: 'What is the meaning of it all?' });
  }

  #lives(): number {
    return this.#fleet.events.filter(
      ({ type, agent: name }) => type === 'AGENT_SPAWNED' && name === 'reasoner',
    ).length;
  }
}

function poison(fleet: Fleet): Observation {
  const { lives } = historyOf('reasoner', fleet.events);
  const killed = lives.filter(({ reason }) => reason === 'oom').length;
  const answered = fleet.messages.some(({ message }) => (message as { id?: number }).id === POISON_ID);
  return {
    holds: killed === 1 && lives.length === 2 && !answered,
    observed: answered
      ? 'the reasoner took all the memory it wanted, and went on'
      : `the reasoner ended by ${lives[0]?.reason ?? 'nothing'} and was started again`,
    layer: killed > 0 ? 'mem' : null,
    evidence: [
      {
        source: 'event',
        text: `lives of the reasoner: ${lives.map(({ reason }) => reason ?? 'runs').join(' → ')}`,
      },
      {
        source: 'message',
        text: answered ? 'the poisoned question was answered' : 'no answer to the poisoned question',
      },
    ],
  };
}

function untouched(fleet: Fleet): Observation {
  const lives = ['parser', 'verifier'].map((name) => historyOf(name, fleet.events).lives);
  return {
    holds: lives.every((all) => all.length === 1 && all[0]?.toMs === null),
    observed: `lives: parser ${lives[0]?.length}, verifier ${lives[1]?.length}`,
    evidence: [{ source: 'event', text: 'AGENT_SPAWNED and AGENT_EXITED of both' }],
  };
}
