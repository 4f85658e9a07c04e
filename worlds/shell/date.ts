/** `date` as far as scripts use it, told a time instead of asking for it. Times are UTC unless a zone is named. */

export interface DateResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

const UNITS_MS: Readonly<Record<string, number>> = {
  second: 1000,
  sec: 1000,
  minute: 60_000,
  min: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  week: 604_800_000,
};

export function runDate(args: readonly string[], nowMs: number): DateResult {
  let at: number | null = nowMs;
  let format = '%a %b %e %H:%M:%S %Z %Y';
  for (let index = 0; index < args.length; index += 1) {
    const arg = args[index] as string;
    const [name, inline] = arg.startsWith('--') ? arg.split(/=(.*)/s) : [arg, undefined];
    if (arg.startsWith('+')) format = arg.slice(1);
    else if (name === '-u' || name === '--utc' || name === '--universal') continue;
    else if (name === '-d' || name === '--date') {
      const text = inline ?? args[index + 1];
      if (inline === undefined) index += 1;
      at = text === undefined ? null : parseDate(text, nowMs);
      if (at === null) return failure(`date: invalid date '${text ?? ''}'`);
    } else if (/^-I/.test(arg) || name === '--iso-8601') {
      format = isoFormat(inline ?? arg.slice(2));
    } else if (name === '-R' || name === '--rfc-email') format = '%a, %d %b %Y %H:%M:%S +0000';
    else if (name === '--rfc-3339') format = inline === 'date' ? '%F' : '%F %T+00:00';
    else if (name === '-s' || name === '--set')
      return failure('date: cannot set date: Operation not permitted');
    else return failure(`date: unrecognized argument '${arg}'`);
  }
  return { stdout: `${formatDate(format, at)}\n`, stderr: '', exitCode: 0 };
}

function failure(message: string): DateResult {
  return { stdout: '', stderr: `${message}\n`, exitCode: 1 };
}

function isoFormat(precision: string): string {
  if (precision.startsWith('h')) return '%FT%H+00:00';
  if (precision.startsWith('m')) return '%FT%H:%M+00:00';
  if (precision.startsWith('s')) return '%FT%T+00:00';
  return precision.startsWith('n') ? '%FT%T,%N+00:00' : '%F';
}

/** ms since the epoch; null = it is no date. */
export function parseDate(text: string, nowMs: number): number | null {
  const trimmed = text.trim();
  if (trimmed === '' || trimmed === 'now') return nowMs;
  if (/^@-?\d{1,12}(\.\d+)?$/.test(trimmed)) return Number(trimmed.slice(1)) * 1000;
  if (trimmed === 'today') return nowMs;
  if (trimmed === 'yesterday') return nowMs - 86_400_000;
  if (trimmed === 'tomorrow') return nowMs + 86_400_000;
  const relative = /^([+-]?\s*\d{1,9})\s*([a-z]+?)s?(\s+ago)?$/i.exec(trimmed);
  const unit = UNITS_MS[relative?.[2]?.toLowerCase() ?? ''];
  if (relative !== null && unit !== undefined) {
    const amount = Number((relative[1] as string).replace(/\s/g, '')) * unit;
    return nowMs + (relative[3] === undefined ? amount : -amount);
  }
  const zoned = /[zZ]$|[+-]\d{2}:?\d{2}$|UTC$|GMT$/.test(trimmed) ? trimmed : `${trimmed.replace(' ', 'T')}`;
  const parsed = Date.parse(
    /T|Z$|UTC$|GMT$/.test(zoned) && !/[zZ]$|[+-]\d{2}:?\d{2}$|UTC$|GMT$/.test(zoned) ? `${zoned}Z` : zoned,
  );
  return Number.isNaN(parsed) ? null : parsed;
}

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const two = (value: number) => String(value).padStart(2, '0');

export function formatDate(format: string, ms: number): string {
  const date = new Date(ms);
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()];
  const [hour, minute, second] = [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()];
  const yearDay = Math.floor((Date.UTC(year, month, day) - Date.UTC(year, 0, 1)) / 86_400_000) + 1;
  const weekDay = date.getUTCDay();
  const fields: Readonly<Record<string, () => string>> = {
    Y: () => String(year),
    y: () => two(year % 100),
    C: () => two(Math.floor(year / 100)),
    m: () => two(month + 1),
    d: () => two(day),
    e: () => String(day).padStart(2, ' '),
    H: () => two(hour),
    I: () => two(hour % 12 || 12),
    M: () => two(minute),
    S: () => two(second),
    p: () => (hour < 12 ? 'AM' : 'PM'),
    a: () => (DAYS[weekDay] as string).slice(0, 3),
    A: () => DAYS[weekDay] as string,
    b: () => (MONTHS[month] as string).slice(0, 3),
    h: () => (MONTHS[month] as string).slice(0, 3),
    B: () => MONTHS[month] as string,
    j: () => String(yearDay).padStart(3, '0'),
    u: () => String(weekDay || 7),
    w: () => String(weekDay),
    s: () => String(Math.floor(ms / 1000)),
    N: () => String(Math.floor((ms % 1000) * 1e6)).padStart(9, '0'),
    Z: () => 'UTC',
    z: () => '+0000',
    F: () => `${year}-${two(month + 1)}-${two(day)}`,
    T: () => `${two(hour)}:${two(minute)}:${two(second)}`,
    R: () => `${two(hour)}:${two(minute)}`,
    D: () => `${two(month + 1)}/${two(day)}/${two(year % 100)}`,
    n: () => '\n',
    t: () => '\t',
    '%': () => '%',
  };
  return format.replace(/%[-_0]?([A-Za-z%])/g, (whole, name: string) => {
    const text = fields[name]?.();
    if (text === undefined) return whole;
    return whole[1] === '-' ? text.replace(/^[0 ]+(?=\d)/, '') : text;
  });
}
