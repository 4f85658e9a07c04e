/** A parser of the Prometheus text format that forgives nothing. */

export interface ParsedSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ParsedFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: ParsedSample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SUFFIXES = { counter: [''], gauge: [''], histogram: ['_bucket', '_sum', '_count'] } as const;

/** @throws where a line breaks a rule of the format, a series comes twice, or a histogram does not add up */
export function parsePrometheus(page: string): ReadonlyMap<string, ParsedFamily> {
  if (!page.endsWith('\n')) throw new Error('no line feed at the end');
  const families = new Map<string, ParsedFamily>();
  const series = new Set<string>();
  let help: { name: string; text: string } | null = null;
  let current: ParsedFamily | null = null;
  for (const line of page.slice(0, -1).split('\n')) {
    const helpLine = /^# HELP (\S+) (.*)$/.exec(line);
    const typeLine = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
    if (helpLine !== null) {
      help = { name: named(helpLine[1]), text: helpLine[2] ?? '' };
    } else if (typeLine !== null) {
      const name = named(typeLine[1]);
      if (help?.name !== name || families.has(name)) throw new Error(`TYPE out of place: ${line}`);
      current = { name, type: typeLine[2] as string, help: help.text, samples: [] };
      families.set(name, current);
    } else {
      if (current === null) throw new Error(`a sample without a family: ${line}`);
      const sample = parseSample(line);
      const suffixes: readonly string[] = SUFFIXES[current.type as keyof typeof SUFFIXES];
      if (!suffixes.some((suffix) => sample.name === `${current?.name}${suffix}`)) {
        throw new Error(`${sample.name} is not of family ${current.name}`);
      }
      const key = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
      if (series.has(key)) throw new Error(`twice: ${line}`);
      series.add(key);
      current.samples.push(sample);
    }
  }
  for (const family of families.values()) checkFamily(family);
  return families;
}

function named(name: string | undefined): string {
  if (name === undefined || !NAME.test(name)) throw new Error(`not a name: ${name}`);
  return name;
}

function parseSample(line: string): ParsedSample {
  const [, name] = /^([a-zA-Z_:][a-zA-Z0-9_:]*)/.exec(line) ?? [];
  let at = named(name).length;
  const labels: Record<string, string> = {};
  if (line[at] === '{') {
    at += 1;
    while (line[at] !== '}') {
      const [pair, label, text] =
        /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"/.exec(line.slice(at)) ?? [];
      if (pair === undefined || label === undefined || label in labels)
        throw new Error(`bad labels: ${line}`);
      labels[label] = (text ?? '').replace(/\\(.)/g, (_all, char) => (char === 'n' ? '\n' : char));
      at += pair.length;
      if (line[at] === ',') at += 1;
      else if (line[at] !== '}') throw new Error(`bad labels: ${line}`);
    }
    at += 1;
  }
  const [, value] = /^ (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|NaN|[+-]Inf)$/.exec(line.slice(at)) ?? [];
  if (value === undefined) throw new Error(`not a value: ${line}`);
  return { name: name as string, labels, value: Number(value.replace('Inf', 'Infinity')) };
}

function checkFamily({ name, type, samples }: ParsedFamily): void {
  if (samples.length === 0) throw new Error(`no samples: ${name}`);
  if ((type === 'counter') !== name.endsWith('_total')) throw new Error(`the name of a ${type}: ${name}`);
  if (type === 'counter' && samples.some(({ value }) => !(value >= 0)))
    throw new Error(`below zero: ${name}`);
  if (type !== 'histogram') return;
  const byLabels = Map.groupBy(samples, ({ labels: { le: _, ...rest } }) => JSON.stringify(rest));
  for (const [labels, group] of byLabels) {
    const buckets = group.filter((sample) => sample.name.endsWith('_bucket'));
    const count = group.find((sample) => sample.name.endsWith('_count'))?.value;
    const bounds = buckets.map((bucket) => Number(bucket.labels.le?.replace('Inf', 'Infinity')));
    const values = buckets.map(({ value }) => value);
    const ascends = (list: readonly number[]) =>
      list.every((each, at) => at === 0 || each >= (list[at - 1] as number));
    if (
      !ascends(bounds) ||
      !ascends(values) ||
      bounds.at(-1) !== Number.POSITIVE_INFINITY ||
      values.at(-1) !== count
    ) {
      throw new Error(`buckets of ${name}${labels}`);
    }
  }
}
