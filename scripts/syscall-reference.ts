import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../errors/index.ts';
import { REMEDIES } from '../errors/remedies.ts';
import { AGENT_STATES } from '../kernel/agents/agent.ts';
import { EVENT_TYPES } from '../kernel/events/event-bus.ts';
import { SYSCALL_NAMES } from '../kernel/permissions/policy.ts';
import { agentSyscalls } from '../kernel/syscalls/agents.ts';
import { asyncSyscalls } from '../kernel/syscalls/async.ts';
import { auditSyscalls } from '../kernel/syscalls/audit.ts';
import { coreSyscalls } from '../kernel/syscalls/core.ts';
import { PERMISSIONS, type SyscallDefinition } from '../kernel/syscalls/define.ts';
import { eventSyscalls } from '../kernel/syscalls/events.ts';
import { execSyscalls } from '../kernel/syscalls/exec.ts';
import { fileSyscalls } from '../kernel/syscalls/files.ts';
import { httpSyscalls } from '../kernel/syscalls/http.ts';
import { ipcSyscalls } from '../kernel/syscalls/ipc.ts';
import { llmSyscalls } from '../kernel/syscalls/llm.ts';
import { metricsSyscalls } from '../kernel/syscalls/metrics.ts';
import { permissionSyscalls } from '../kernel/syscalls/permissions.ts';
import { recordingSyscalls } from '../kernel/syscalls/recording.ts';
import { stateSyscalls } from '../kernel/syscalls/state.ts';
import { supervisionSyscalls } from '../kernel/syscalls/supervision.ts';
import { SYSCALLS } from '../kernel/syscalls/table.ts';
import { taskSyscalls } from '../kernel/syscalls/tasks.ts';
import { tunnelSyscalls } from '../kernel/syscalls/tunnel.ts';
import { worldSyscalls } from '../kernel/syscalls/worlds.ts';
import { LAYERS } from '../native/types.ts';

const FAMILIES: readonly (readonly [string, readonly SyscallDefinition[]])[] = [
  ['Core', coreSyscalls],
  ['Agents', agentSyscalls],
  ['Supervision', supervisionSyscalls],
  ['Messages', ipcSyscalls],
  ['State', stateSyscalls],
  ['Tasks', taskSyscalls],
  ['Files', fileSyscalls],
  ['Commands', execSyscalls],
  ['HTTP', httpSyscalls],
  ['Asynchronous calls', asyncSyscalls],
  ['Models', llmSyscalls],
  ['Events', eventSyscalls],
  ['Permissions', permissionSyscalls],
  ['Audit', auditSyscalls],
  ['Recording and replay', recordingSyscalls],
  ['Tunnel', tunnelSyscalls],
  ['Metrics', metricsSyscalls],
  ['Worlds', worldSyscalls],
];

/** Long lists of names, told once and referred to. */
const NAMES: readonly (readonly [string, readonly string[]])[] = [
  ['agent state', AGENT_STATES],
  ['event type', EVENT_TYPES],
  ['layer', LAYERS],
  ['permission', PERMISSIONS],
  ['syscall', SYSCALL_NAMES],
];

/** The parts of JSON Schema that zod writes. */
interface Schema {
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly prefixItems?: readonly Schema[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly maxLength?: number;
  readonly default?: unknown;
  readonly description?: string;
}

const INTRODUCTION = `# Syscalls

<!-- Written by scripts/generate-docs.ts from kernel/syscalls/. Change the definitions, then run it again. -->

Every request to the kernel is one frame: a header of 17 bytes (magic \`54 4E 47 41\`, agent id u32, opcode u8, payload
length u64, all little-endian) and a JSON object of at most 1 MiB. Every request gets exactly one answer with the same
opcode, and the answers of a connection come in the order of its requests. Members that a syscall does not know are
ignored, except where the reference says *exactly these*.

**Who is calling** is decided by the socket: an agent has one of its own inside its sandbox (\`/run/clove.sock\`) and one id
on all its connections and through all its restarts; a client of the shared socket is known by its connection, with ids from
2³⁰. The id in a request's header is not read.

**Permissions.** A client of the shared socket may do everything. What an agent may do is listed with each syscall: *agents
by default* hold it without being given it; docs/permissions.md says what else there is. A refusal has the code FORBIDDEN and
names its rule in \`details.rule\`.

**Errors** are answers with \`success: false\`, \`error\` (a sentence), \`code\` (below) and sometimes \`hint\`; clients of the
shared socket also get \`details\`.

**Replay.** *deterministic*: the same requests in the same order get the same answer. *recorded*: the answer depends on time
or on others, so a replay takes it from the recording.
`;

/** The whole of docs/syscalls.md. `agentDefaults`: permissions that agents hold without being given them. */
export function renderSyscallReference(agentDefaults: readonly string[]): string {
  const listed = FAMILIES.flatMap(([, definitions]) => definitions.map(({ name }) => name));
  const missing = SYSCALLS.filter(({ name }) => !listed.includes(name));
  if (missing.length > 0) throw new Error(`no family for ${missing.map(({ name }) => name).join(', ')}`);
  const parts = [INTRODUCTION, renderIndex()];
  for (const [title, definitions] of FAMILIES) {
    parts.push(`## ${title}\n`);
    for (const definition of definitions) parts.push(renderSyscall(definition, agentDefaults));
  }
  parts.push(renderNames(), renderErrors());
  return parts.join('\n');
}

function renderIndex(): string {
  const rows = FAMILIES.flatMap(([title, definitions]) =>
    definitions.map(({ opcode, name, summary }) => [opcode, title, name, summary] as const),
  ).toSorted(([left], [right]) => left - right);
  const lines = rows.map(
    ([opcode, title, name, summary]) =>
      `| \`${hex(opcode)}\` | [${name}](#${name.toLowerCase()}) | ${title} | ${cell(summary)} |`,
  );
  return `| Opcode | Syscall | Family | |\n|---|---|---|---|\n${lines.join('\n')}\n`;
}

function renderSyscall(definition: SyscallDefinition, agentDefaults: readonly string[]): string {
  const { name, opcode, summary, permission, audit, replay, raw, errorShape } = definition;
  const who =
    permission === 'none'
      ? 'anybody'
      : `\`${permission}\`${agentDefaults.includes(permission) ? ' (agents by default)' : ''}`;
  const lines = [
    `### ${name}`,
    '',
    summary,
    '',
    `Opcode \`${hex(opcode)}\` · permission ${who} · audit ${audit} · replay ${replay}`,
    '',
  ];
  if (raw === true) {
    lines.push('Request and answer are bytes as they are, not JSON.', '');
    return lines.join('\n');
  }
  lines.push(...renderSide('Request', toSchema(definition.request, 'input'), true));
  lines.push(...renderSide('Answer', toSchema(definition.response, 'output'), false));
  if (errorShape !== undefined) {
    lines.push(`An error answer also has \`${JSON.stringify(errorShape)}\`.`, '');
  }
  return lines.join('\n');
}

function toSchema(type: z.ZodType, io: 'input' | 'output'): Schema {
  return z.toJSONSchema(type, { io, unrepresentable: 'any' }) as Schema;
}

function renderSide(title: string, schema: Schema, isRequest: boolean): string[] {
  const rows = [...fieldRows(schema, '', isRequest)];
  if (rows.length === 0)
    return [`**${title}:** ${isRequest ? 'nothing is read from it' : typeText(schema)}.`, ''];
  const exact = isRequest && schema.additionalProperties === false ? ' (exactly these)' : '';
  const array = schema.type === 'array' ? ', an array of' : '';
  return [
    `**${title}**${exact}${array}`,
    '',
    '| Field | Type | |',
    '|---|---|---|',
    ...rows.map((row) => `| ${row.map(cell).join(' | ')} |`),
    '',
  ];
}

/** One row per field; those of objects inside are named by their path, elements of arrays by []. */
function* fieldRows(schema: Schema, prefix: string, isRequest: boolean): Generator<[string, string, string]> {
  const object = objectIn(schema);
  if (object === null) return;
  const [inner, path] =
    object.type === 'array' ? [objectIn(object.items ?? {}), `${prefix}[]`] : [object, prefix];
  for (const [name, field] of Object.entries(inner?.properties ?? {})) {
    const at = path === '' ? name : `${path}.${name}`;
    const optional = inner?.required?.includes(name) !== true;
    yield [`\`${at}\``, typeText(field), remarks(field, optional, isRequest)];
    yield* fieldRows(field, at, isRequest);
  }
}

/** The object or array of objects that a type is, also where it may be null. */
function objectIn(schema: Schema): Schema | null {
  const options = (schema.anyOf ?? schema.oneOf ?? [schema]).filter((option) => option.type !== 'null');
  return (
    options.find((option) => option.properties !== undefined) ??
    options.find(
      (option) => option.type === 'array' && objectIn(option.items ?? {})?.properties !== undefined,
    ) ??
    null
  );
}

function remarks(field: Schema, optional: boolean, isRequest: boolean): string {
  const words: string[] = [];
  if (field.description !== undefined) words.push(field.description);
  if (field.default !== undefined) words.push(`Default \`${JSON.stringify(field.default)}\`.`);
  else if (isRequest && !optional) words.push('Required.');
  else if (!isRequest && optional) words.push('May be absent.');
  return words.map((text) => (/[.:;!?]$/.test(text) ? text : `${text}.`)).join(' ');
}

function typeText(schema: Schema): string {
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  const named = NAMES.find(([, names]) => names.join() === schema.enum?.join());
  if (named !== undefined) return `[${named[0]}](#names)`;
  if (schema.enum !== undefined)
    return schema.enum.map((value) => `\`${JSON.stringify(value)}\``).join(' or ');
  const options = schema.anyOf ?? schema.oneOf;
  if (options !== undefined) return [...new Set(options.map(typeText))].join(' or ');
  switch (schema.type) {
    case 'array':
      if (schema.prefixItems !== undefined) return `[${schema.prefixItems.map(typeText).join(', ')}]`;
      return `array of ${typeText(schema.items ?? {})}`;
    case 'object':
      if (schema.properties === undefined && typeof schema.additionalProperties === 'object') {
        return `object of ${typeText(schema.additionalProperties)}`;
      }
      return 'object';
    case 'integer':
    case 'number':
      return schema.type + rangeText(schema);
    case 'string':
      return schema.maxLength === undefined ? 'string' : `string of at most ${schema.maxLength}`;
    default:
      return typeof schema.type === 'object' ? schema.type.join(' or ') : (schema.type ?? 'any JSON');
  }
}

function rangeText({ minimum, exclusiveMinimum, maximum }: Schema): string {
  // Whole numbers are bounded by what a double can hold; saying so each time would hide the other bounds.
  const least = minimum !== undefined && minimum > Number.MIN_SAFE_INTEGER ? minimum : undefined;
  const most = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER ? maximum : undefined;
  if (exclusiveMinimum !== undefined)
    return ` > ${exclusiveMinimum}${most === undefined ? '' : ` and ≤ ${most}`}`;
  if (least !== undefined && most !== undefined) return ` ${least}…${most}`;
  if (least !== undefined) return ` ≥ ${least}`;
  return most === undefined ? '' : ` ≤ ${most}`;
}

function renderNames(): string {
  const rows = NAMES.map(([what, names]) => `| ${what} | ${names.map((name) => `\`${name}\``).join(' ')} |`);
  return `## Names\n\n| | One of |\n|---|---|\n${rows.join('\n')}\n`;
}

function renderErrors(): string {
  const rows = (Object.keys(ERROR_CODES) as ErrorCode[]).map(
    (code) => `| \`${code}\` | ${cell(ERROR_CODES[code])} | ${cell(REMEDIES[code].remedy)} |`,
  );
  return `## Error codes\n\n\`clove explain CODE\` tells the same, and what usually causes it.\n\n| Code | Meaning | What to do |\n|---|---|---|\n${rows.join('\n')}\n`;
}

function hex(opcode: number): string {
  return `0x${opcode.toString(16).toUpperCase().padStart(2, '0')}`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('\n', ' ');
}
