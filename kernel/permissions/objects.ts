/** Members that say what a request is about, the telling ones first. */
const TELLING = [
  'path',
  'url',
  'argv',
  'command',
  'script',
  'key',
  'world_id',
  'to_name',
  'target_name',
  'name',
  'to',
  'agent_id',
  'id',
  'event_type',
  'event',
] as const;
const MAX_LENGTH = 512;

/** What a request concerns, for records: its path, command, URL, key or name. */
export function objectOf(input: unknown): string {
  if (typeof input !== 'object' || input === null) return '';
  for (const name of TELLING) {
    const value = (input as Readonly<Record<string, unknown>>)[name];
    if (typeof value === 'string' && value !== '')
      return value.length > MAX_LENGTH ? value.slice(0, MAX_LENGTH) : value;
    if (typeof value === 'number' && value !== 0) return String(value);
    if (Array.isArray(value)) return value.slice(0, 64).join(' ').slice(0, MAX_LENGTH);
  }
  return '';
}
