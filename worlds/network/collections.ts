import { defineService, type ServiceDefinition, type ServiceRoute } from './service.ts';

type Item = Record<string, unknown>;
type Collections = Record<string, Item[]>;

/** As many as a definition may begin with. */
const MAX_ITEMS = 10_000;

const notFound = () => Response.json({ error: 'not found' }, { status: 404 });

/** A ready-made service: collections of JSON objects with list, create, read, change and delete. */
export function collectionService(initial: Readonly<Record<string, readonly Item[]>>): ServiceDefinition {
  const routes: Record<string, ServiceRoute<Collections>> = {};
  for (const name of Object.keys(initial)) {
    const items = (state: Collections) => (state[name] ??= []);
    const indexOf = (state: Collections, id: string | undefined) =>
      items(state).findIndex((item) => String(item.id) === id);
    routes[`GET /${name}`] = ({ state, query }) =>
      items(state).filter((item) => [...query].every(([key, value]) => String(item[key]) === value));
    routes[`POST /${name}`] = async ({ state, json }) => {
      const given = await json<Item>().catch(() => null);
      if (given === null || typeof given !== 'object' || Array.isArray(given))
        return Response.json({ error: 'expected a JSON object' }, { status: 400 });
      if (items(state).length >= MAX_ITEMS)
        return Response.json({ error: 'the collection is full' }, { status: 507 });
      const id = given.id ?? nextId(items(state));
      if (indexOf(state, String(id)) >= 0) return Response.json({ error: 'exists' }, { status: 409 });
      const item = { ...given, id };
      items(state).push(item);
      return Response.json(item, { status: 201 });
    };
    routes[`GET /${name}/:id`] = ({ state, params }) => items(state)[indexOf(state, params.id)] ?? notFound();
    const change =
      (keep: boolean): ServiceRoute<Collections> =>
      async ({ state, params, json }) => {
        const index = indexOf(state, params.id);
        if (index < 0) return notFound();
        const given = await json<Item>().catch(() => null);
        if (given === null || typeof given !== 'object' || Array.isArray(given))
          return Response.json({ error: 'expected a JSON object' }, { status: 400 });
        const old = items(state)[index] as Item;
        const item = { ...(keep ? old : {}), ...given, id: old.id };
        items(state)[index] = item;
        return item;
      };
    routes[`PATCH /${name}/:id`] = change(true);
    routes[`PUT /${name}/:id`] = change(false);
    routes[`DELETE /${name}/:id`] = ({ state, params }) => {
      const index = indexOf(state, params.id);
      if (index < 0) return notFound();
      items(state).splice(index, 1);
      return undefined;
    };
  }
  return defineService<Collections>({ state: structuredClone(initial) as Collections, routes });
}

/** The smallest number above all that are there, so that a restored world gives the same ids. */
function nextId(items: readonly Item[]): number {
  return items.reduce((highest, { id }) => (typeof id === 'number' && id >= highest ? id + 1 : highest), 1);
}
