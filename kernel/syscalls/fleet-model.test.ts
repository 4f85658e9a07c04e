import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type TestClient, TestKernel, until } from '../fixture.ts';
import type { SyscallName } from '../protocol/opcodes.ts';

/**
 * Clients that come, go and use every syscall of messages, state and events, next to a model of the whole in a few maps.
 * The parts have models of their own; this one is about what lies between them: identity, release, permissions, wire.
 */

const CLIENTS = 3;
const NAMES = ['ann', 'bob', 'Ann', 'self'];
const KEYS = ['k', 'k/1', 'other', 'agent:1:k'];
const SCOPES = ['global', 'agent', 'session'] as const;
const TYPES = ['CUSTOM', 'mine', 'STATE_CHANGED', '*'];

interface ModelClient {
  readonly client: TestClient;
  readonly id: number;
  readonly names: string[];
  readonly mailbox: number[];
  readonly own: Map<string, Map<string, number>>;
  readonly types: Set<string>;
  readonly events: string[];
}

const slot = fc.nat(CLIENTS - 1);
const scope = fc.constantFrom(...SCOPES);
const step = fc.oneof(
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reconnect' as const), slot }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('register' as const), slot, name: fc.constantFrom(...NAMES) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('send' as const), slot, to: slot }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('sendTo' as const), slot, name: fc.constantFrom(...NAMES) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('broadcast' as const), slot, self: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('receive' as const), slot, max: fc.nat(3) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('store' as const), slot, key: fc.constantFrom(...KEYS), scope }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('delete' as const),
      slot,
      key: fc.constantFrom(...KEYS),
      scope: fc.option(scope),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('subscribe' as const), slot, type: fc.constantFrom(...TYPES) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('emit' as const),
      slot,
      name: fc.constantFrom('mine', 'CUSTOM'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('poll' as const), slot, max: fc.nat(3) }) },
);

let kernel: TestKernel;
beforeAll(async () => {
  kernel = await TestKernel.boot();
});
afterAll(() => kernel.close());

class Fleet {
  readonly members: ModelClient[] = [];
  readonly global = new Map<string, number>();

  async join(at: number): Promise<void> {
    const client = await kernel.connect();
    const { agent_id: id } = await client.call('HELLO');
    this.members[at] = {
      client,
      id,
      names: [],
      mailbox: [],
      own: new Map([
        ['agent', new Map()],
        ['session', new Map()],
      ]),
      types: new Set(),
      events: [],
    };
  }

  async leave(at: number): Promise<void> {
    const { client, id } = this.at(at);
    await client.close();
    await until(() => !kernel.running.kernel.mailboxes.has(id));
  }

  at(index: number): ModelClient {
    return this.members[index] as ModelClient;
  }

  holder(name: string): ModelClient | undefined {
    return this.members.find((member) => member.names.includes(name));
  }

  tell(type: string, what: string, custom: string | null): number {
    const told = this.members.filter(({ types }) =>
      [type, '*', custom ?? type].some((each) => types.has(each)),
    );
    for (const member of told) member.events.push(what);
    return told.length;
  }

  space(member: ModelClient, of: string): Map<string, number> {
    return of === 'global' ? this.global : (member.own.get(of) as Map<string, number>);
  }

  find(member: ModelClient, key: string, of: string | null): string | null {
    const scopes = of === null ? ['session', 'agent', 'global'] : [of];
    return scopes.find((each) => this.space(member, each).has(key)) ?? null;
  }
}

it('a fleet of clients sees what the model says, whatever they do', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 80, size: 'max' }), async (steps) => {
      const fleet = new Fleet();
      for (let at = 0; at < CLIENTS; at += 1) await fleet.join(at);
      for (const [number, each] of steps.entries()) await perform(fleet, each, number);
      for (const member of fleet.members) {
        for (const key of KEYS) {
          const where = fleet.find(member, key, null);
          expect(await member.client.call('FETCH', { key })).toMatchObject(
            where === null
              ? { found: false }
              : { found: true, scope: where, value: fleet.space(member, where).get(key) },
          );
        }
        const visible = KEYS.filter((key) => fleet.find(member, key, null) !== null).toSorted();
        expect((await member.client.call('KEYS')).keys).toEqual(visible);
      }
      for (const key of [...fleet.global.keys()])
        await fleet.at(0).client.call('DELETE', { key, scope: 'global' });
      for (let at = 0; at < CLIENTS; at += 1) await fleet.leave(at);
      const { mailboxes, events, state } = kernel.running.kernel;
      expect(mailboxes.usage()).toEqual({ mailboxes: 0, bytes: 0 });
      expect(events.usage()).toEqual({ subscribers: 0, bytes: 0 });
      expect(state.usage()).toEqual({ keys: 0, bytes: 0 });
    }),
    { numRuns: 25 },
  );
});

type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

async function perform(fleet: Fleet, each: Step, number: number): Promise<void> {
  const member = fleet.at(each.slot);
  const ask = (name: SyscallName, request: unknown) => member.client.call(name, request);
  switch (each.kind) {
    case 'reconnect': {
      await fleet.leave(each.slot);
      await fleet.join(each.slot);
      return;
    }
    case 'register': {
      const taken = fleet.members.some(({ names }) =>
        names.some((name) => name.toLowerCase() === each.name.toLowerCase()),
      );
      const allowed = each.name !== 'self' && (!taken || member.names.includes(each.name));
      if (allowed && !taken) member.names.push(each.name);
      expect((await ask('REGISTER', { name: each.name })).success).toBe(allowed);
      return;
    }
    case 'send': {
      const receiver = fleet.at(each.to);
      expect(await ask('SEND', { to: receiver.id, message: number })).toMatchObject({
        delivered_to: receiver.id,
      });
      receiver.mailbox.push(number);
      fleet.members
        .filter((one) => one === receiver && one.types.has('*'))
        .forEach((one) => {
          one.events.push('MESSAGE_RECEIVED');
        });
      return;
    }
    case 'sendTo': {
      const receiver = each.name === 'self' ? member : fleet.holder(each.name);
      const answer = await ask('SEND', { to_name: each.name, message: number });
      if (receiver === undefined) {
        expect(answer).toMatchObject({ success: false, error: `target agent not found: ${each.name}` });
        return;
      }
      expect(answer).toMatchObject({ success: true, delivered_to: receiver.id });
      receiver.mailbox.push(number);
      if (receiver.types.has('*')) receiver.events.push('MESSAGE_RECEIVED');
      return;
    }
    case 'broadcast': {
      const receivers = fleet.members.filter((one) => one.names.length > 0 && (each.self || one !== member));
      const answer = await ask('BROADCAST', { message: number, include_self: each.self });
      expect(answer).toMatchObject({ delivered_count: receivers.length, refused: [] });
      for (const one of receivers) {
        one.mailbox.push(number);
        if (one.types.has('*')) one.events.push('MESSAGE_RECEIVED');
      }
      return;
    }
    case 'receive': {
      const { messages } = await ask('RECV', { max: each.max });
      expect(messages.map((message: { message: number }) => message.message)).toEqual(
        member.mailbox.splice(0, each.max),
      );
      return;
    }
    case 'store': {
      expect(await ask('STORE', { key: each.key, value: number, scope: each.scope })).toMatchObject({
        success: true,
      });
      fleet.space(member, each.scope).set(each.key, number);
      if (each.scope === 'global') fleet.tell('STATE_CHANGED', `store ${each.key}`, null);
      return;
    }
    case 'delete': {
      const where = fleet.find(member, each.key, each.scope);
      const answer = await ask('DELETE', {
        key: each.key,
        ...(each.scope === null ? {} : { scope: each.scope }),
      });
      expect(answer).toMatchObject(where === null ? { deleted: false } : { deleted: true, scope: where });
      if (where !== null) fleet.space(member, where).delete(each.key);
      if (where === 'global') fleet.tell('STATE_CHANGED', `delete ${each.key}`, null);
      return;
    }
    case 'subscribe': {
      member.types.add(each.type);
      expect(new Set((await ask('SUBSCRIBE', { event_types: [each.type] })).subscriptions)).toEqual(
        member.types,
      );
      return;
    }
    case 'emit': {
      const custom = each.name === 'CUSTOM' ? null : each.name;
      const answer = await ask('EMIT', { event_type: each.name, data: number });
      expect(answer.delivered_to).toBe(fleet.tell('CUSTOM', `${each.name} ${number}`, custom));
      return;
    }
    case 'poll': {
      const { events, dropped } = await ask('POLL_EVENTS', { max: each.max });
      expect(events.map(describeEvent)).toEqual(member.events.splice(0, each.max));
      expect(dropped).toBe(0);
      return;
    }
  }
}

function describeEvent(event: {
  type: string;
  custom_type?: string;
  data: { key?: string; action?: string };
}): string {
  if (event.type === 'STATE_CHANGED') return `${event.data.action} ${event.data.key}`;
  return event.type === 'CUSTOM' ? `${event.custom_type ?? 'CUSTOM'} ${String(event.data)}` : event.type;
}
