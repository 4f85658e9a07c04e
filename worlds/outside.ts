import type { Kernel } from '../kernel/kernel.ts';
import type { WorldOutside } from './parts.ts';

/** What a kernel does for one of its worlds. */
export function outsideOf(kernel: () => Kernel, worldId: string): WorldOutside {
  return {
    members: {
      list: () => {
        const { agents, worlds, mailboxes } = kernel();
        const ids = worlds?.memberIdsOf(worldId) ?? [];
        return ids.map((id) => {
          const agent = agents.get(id);
          return { id, name: agent?.name ?? mailboxes.nameOf(id), isAgent: agent !== undefined };
        });
      },
      // As if it had crashed: nobody asked for its end, so its restart policy holds.
      crash: (id) => kernel().agents.get(id)?.sandbox?.kill('killed'),
      pause: async (id) => {
        const agent = kernel().agents.get(id);
        if (agent !== undefined) await kernel().supervisor.pause(agent, 0);
      },
      resume: async (id) => {
        const agent = kernel().agents.get(id);
        if (agent !== undefined) await kernel().supervisor.resume(agent, 0);
      },
    },
    send: (toIds, message) => {
      const text = JSON.stringify(message);
      for (const id of toIds) kernel().mailboxes.put(id, worldId, text, worldId);
    },
    emit: (toIds, type, data) => {
      const value = typeof data === 'object' && data !== null && !Array.isArray(data) ? data : { data };
      for (const id of toIds) kernel().events.publish('CUSTOM', { ...value, custom_type: type }, 0, id);
    },
    changed: (what) => {
      kernel().events.publish('WORLD_CHANGED', { world_id: worldId, ...what }, 0, 'operators');
    },
  };
}
