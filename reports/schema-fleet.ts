import { z } from 'zod';
import { bytes, count, facts, ms } from './schema-values.ts';

/** Of trials that are fleets of agents in a world: what held, and who did what when. */

const evidence = z.strictObject({
  source: z.enum(['event', 'exit', 'cgroup', 'audit', 'message', 'process', 'network', 'file', 'isolation']),
  text: z.string().describe('Untrusted text.'),
});

const activityKind = z.enum([
  'message',
  'network',
  'file',
  'command',
  'model',
  'state',
  'event',
  'task',
  'agent',
  'other',
]);

const activity = z
  .strictObject({
    worldStart: z.iso
      .datetime()
      .nullable()
      .describe('Time in the world at its start; null = nobody was in a world.'),
    worlds: z
      .exactOptional(
        z.array(
          z
            .strictObject({
              name: z.string(),
              clock: z.enum(['real', 'scale', 'step', 'skip', 'strict']),
              llmTime: z.string().describe('What a model call costs there: real, free, fixed:<ms> …'),
              modelCalls: count,
              modelFailed: count,
              modelChargedMs: ms.describe("Of the world's time."),
              modelRealMs: ms.describe("Of this machine's."),
            })
            .meta({ id: 'FleetWorld' }),
        ),
      )
      .describe('The worlds that its agents were in: their clock, and what thinking cost there.'),
    entries: z
      .array(
        z
          .strictObject({
            atMs: ms.describe('When it began, since the start of the attempt.'),
            worldMs: ms
              .nullable()
              .describe("The same on its world's clock, since that world's start; null = in no world."),
            agent: z.string().describe('Who; "oracle" = the scenario\'s, from outside.'),
            kind: activityKind,
            what: z.string().describe('Type of a message, method of a request, "read" … Untrusted text.'),
            target: z.string().describe('Receiver, URL without query, path, key … Untrusted text.'),
            outcome: z.string().describe('OK, or the code of an error; FORBIDDEN = refused.'),
            status: z.int().nullable().describe('Of a response, or the exit code of a command.'),
            bytes: bytes.nullable(),
            durationMs: ms,
          })
          .meta({ id: 'ActivityEntry' }),
      )
      .describe('In the order in which they began; of each kind the first and the last.'),
    losses: z
      .array(z.strictObject({ kind: activityKind, seen: count, kept: count, fromMs: ms, toMs: ms }))
      .describe('Entries that are not kept: how many of which kind, and between when.'),
    calls: z
      .array(
        z.strictObject({
          agent: z.string(),
          call: z.string(),
          count,
          refused: count,
          failed: count,
        }),
      )
      .describe(
        'Of all calls, whatever became of single entries, up to 10,000 under way at once and as many rows as fit; so are the lists after it.',
      ),
    refusals: z.array(
      z.strictObject({
        agent: z.string(),
        call: z.string(),
        rule: z.string().describe('Which rule of its permissions made the decision.'),
        object: z.string().describe('What it was about. Untrusted text.'),
        count,
      }),
    ),
    requests: z.array(
      z.strictObject({
        agent: z.string(),
        host: z.string(),
        method: z.string(),
        status: z.int().nullable(),
        outcome: z.string(),
        count,
        bytes,
      }),
    ),
    files: z.array(
      z.strictObject({
        agent: z.string(),
        path: z.string(),
        reads: count,
        writes: count,
        failed: count,
        bytesRead: bytes,
        bytesWritten: bytes,
      }),
    ),
    messages: z.array(
      z.strictObject({
        from: z.string(),
        to: z.string(),
        what: z.string(),
        count,
        failed: count,
        bytes,
      }),
    ),
    changed: z
      .array(
        z.strictObject({
          path: z.string(),
          change: z.enum(['added', 'changed', 'deleted']),
          bytes: bytes.nullable(),
        }),
      )
      .describe('What had become of the files of its worlds when the trial was over.'),
    rowsLost: z
      .strictObject({ requests: count, files: count, messages: count, changed: count, refusals: count })
      .describe('Rows that found no room in the lists above.'),
  })
  .meta({
    id: 'FleetActivity',
    description: 'What the agents of a trial did through the kernel and in the networks of its worlds.',
  });

export const fleet = z
  .strictObject({
    checks: z.array(
      z
        .strictObject({
          id: z.string(),
          asserted: z.string(),
          status: z.enum(['passed', 'failed', 'not_measured']),
          observed: z.string().describe('What was seen, or why it could not be. Untrusted text.'),
          layer: z.string().nullable().describe('The layer of isolation that did it.'),
          evidence: z.array(evidence).describe('Seen from outside the sandboxes.'),
          atMs: z.number(),
        })
        .meta({ id: 'Check' }),
    ),
    agents: z.array(
      z
        .strictObject({
          name: z.string(),
          role: z.string(),
          program: z.string(),
          limits: facts,
          restartPolicy: z.string(),
          lives: z
            .array(
              z.strictObject({
                fromMs: z.number(),
                toMs: z.number().nullable().describe('null = it ran when the trial was over.'),
                reason: z.string().nullable(),
                exitCode: z.int().nullable(),
                signal: z.string().nullable(),
              }),
            )
            .describe('Its incarnations. Times are ms since the start of the attempt.'),
          restarts: count,
          escalated: z.boolean(),
          cpuMs: ms.nullable().describe('Over all incarnations that ended.'),
          throttledMs: ms.nullable(),
          memoryPeakBytes: bytes.nullable(),
        })
        .meta({ id: 'FleetAgent' }),
    ),
    marks: z.array(
      z.strictObject({
        atMs: z.number(),
        agent: z.string().nullable(),
        kind: z.enum(['phase', 'fault', 'limit', 'restart', 'escalated', 'refused', 'note']),
        text: z.string(),
      }),
    ),
    series: z.array(
      z.strictObject({
        name: z.string(),
        unit: z.string(),
        points: z.array(z.tuple([z.number(), z.number()])).describe('[ms since the start, value]'),
      }),
    ),
    activity: z.exactOptional(activity),
  })
  .meta({ id: 'Fleet', description: 'What a trial with several agents leaves behind besides its metrics.' });
