/** One place where two JSON values differ. `path` is a JSON pointer; a missing member is left out of its side. */
export interface Difference {
  readonly path: string;
  readonly recorded?: unknown;
  readonly actual?: unknown;
}

const MAX_DIFFERENCES = 50;

/** Where two JSON texts differ, in order; texts that are no JSON differ as a whole. */
export function diffTexts(recorded: string, actual: string): Difference[] {
  return diffValues(parse(recorded), parse(actual));
}

export function diffValues(recorded: unknown, actual: unknown): Difference[] {
  const found: Difference[] = [];
  walk(recorded, actual, '', found);
  return found;
}

function walk(recorded: unknown, actual: unknown, path: string, found: Difference[]): void {
  if (found.length >= MAX_DIFFERENCES || Object.is(recorded, actual)) return;
  if (!isContainer(recorded) || !isContainer(actual) || Array.isArray(recorded) !== Array.isArray(actual)) {
    found.push({ path, recorded, actual });
    return;
  }
  const names = new Set([...Object.keys(recorded), ...Object.keys(actual)]);
  for (const name of names) {
    const here = `${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const inRecorded = Object.hasOwn(recorded, name);
    const inActual = Object.hasOwn(actual, name);
    if (inRecorded && inActual) walk(recorded[name], actual[name], here, found);
    else if (found.length < MAX_DIFFERENCES) {
      found.push(
        inRecorded ? { path: here, recorded: recorded[name] } : { path: here, actual: actual[name] },
      );
    }
  }
}

function isContainer(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
