/** Figures as a reader wants them. `–` stands for "not known", never zero. */
export const UNKNOWN = '–';

const MINUS = '−';

function signed(text: string): string {
  return text.startsWith('-') ? MINUS + text.slice(1) : text;
}

/** 12345 → "12,345". */
export function formatCount(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  return signed(Math.round(value).toLocaleString('en-US'));
}

/** Three significant digits at most, for figures of unknown size. */
export function formatNumber(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  return signed(
    value.toLocaleString('en-US', { maximumSignificantDigits: Math.abs(value) >= 1000 ? 4 : digits }),
  );
}

/** Milliseconds → "0.42 ms", "38 ms", "1.24 s", "2 min 05 s", "1 h 03 min". */
export function formatDuration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return UNKNOWN;
  const magnitude = Math.abs(ms);
  const sign = ms < 0 ? MINUS : '';
  if (magnitude === 0) return '0 ms';
  if (magnitude < 10) return `${sign}${magnitude.toFixed(magnitude < 1 ? 2 : 1)} ms`;
  if (magnitude < 1000) return `${sign}${Math.round(magnitude)} ms`;
  if (magnitude < 59_950) {
    const seconds = magnitude / 1000;
    return `${sign}${seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
  }
  const seconds = Math.round(magnitude / 1000);
  if (seconds < 3600) return `${sign}${Math.floor(seconds / 60)} min ${pad(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${sign}${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}

/** Bytes → "512 B", "1.5 KiB", "128 MiB". */
export function formatBytes(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined || !Number.isFinite(bytes)) return UNKNOWN;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= 1023.5 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const text = unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1);
  return `${bytes < 0 ? MINUS : ''}${text} ${units[unit]}`;
}

/** 0..1 → "97.9 %"; 1 → "100 %". */
export function formatPercent(fraction: number | null | undefined): string {
  if (fraction === null || fraction === undefined || !Number.isFinite(fraction)) return UNKNOWN;
  const percent = Math.round(fraction * 1000) / 10;
  // Nearly all is not all, and hardly any is not none.
  if (percent === 100 && fraction < 1) return '99.9 %';
  if (percent === 0 && fraction > 0) return '<0.1 %';
  return `${signed(Number.isInteger(percent) ? String(percent) : percent.toFixed(1))} %`;
}

/** "+12 %", "−3.4 %", "±0 %": how far `value` lies from `base`. */
export function formatChange(value: number | null, base: number | null): string {
  if (value === null || base === null || base === 0) return '';
  const percent = (value / base - 1) * 100;
  if (Math.abs(percent) < 0.05) return '±0 %';
  if (percent >= 900) return `×${formatNumber(value / base)}`;
  const text = Math.abs(percent).toFixed(Math.abs(percent) < 10 ? 1 : 0);
  return `${percent < 0 ? MINUS : '+'}${text} %`;
}

const METRIC_FORMAT = /^(\+?)(,?)\.?(\d*)([fed%])$/;

/** A figure by one of the d3-format specifiers that scenarios use: ".3f", ".1%", "d", ",d", ".2e". */
export function formatMetric(value: number | null | undefined, specifier: string): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  const match = METRIC_FORMAT.exec(specifier);
  if (match === null) return formatNumber(value, 4);
  const [, plus, comma, precision, type] = match;
  const digits = Math.min(precision === '' || precision === undefined ? 6 : Number(precision), 20);
  let text: string;
  if (type === 'd') text = formatInteger(value, comma === ',');
  else if (type === 'e') text = value.toExponential(digits);
  else if (type === '%') text = `${(value * 100).toFixed(digits)} %`;
  else
    text =
      comma === ','
        ? value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
        : value.toFixed(digits);
  if (plus === '+' && value > 0) text = `+${text}`;
  return signed(text);
}

function formatInteger(value: number, grouped: boolean): string {
  return grouped ? Math.round(value).toLocaleString('en-US') : String(Math.round(value));
}

/** ISO time → "2026-11-20 05:04 UTC"; what is no time is returned as it is. */
export function formatTime(iso: string): string {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return iso;
  return `${time.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/** 3, "attempt" → "3 attempts"; 1, "retry", "retries" → "1 retry". */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}
