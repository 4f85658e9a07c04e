import { CloveError } from '../../errors/index.ts';

/** Names that mean something to every caller and so belong to nobody. */
export const RESERVED_NAMES: readonly string[] = ['parent', 'self', 'kernel'];

export const MAX_NAME_LENGTH = 128;
/** Names one principal may hold at a time. */
export const MAX_NAMES_EACH = 64;

/** ASCII only: no two names may look the same, and a name is printed in terminals, reports and file names. */
const NAME = /^[A-Za-z0-9_][\x20-\x7e]{0,127}$/;

/** `Worker` and `worker` cannot belong to two principals: whoever reads a log could not tell them apart. */
function nameKey(name: string): string {
  return name.toLowerCase();
}

export function isValidName(name: string): boolean {
  return NAME.test(name) && !name.endsWith(' ') && !RESERVED_NAMES.includes(nameKey(name));
}

interface Holding {
  readonly name: string;
  readonly id: number;
}

/** Which name belongs to which principal id. The first name an id takes is the one it is shown by. */
export class NameTable {
  readonly #byKey = new Map<string, Holding>();
  readonly #byId = new Map<number, string[]>();

  /** Taking a name again that one holds is no error. @throws BAD_REQUEST, CONFLICT, OVERLOAD */
  take(id: number, name: string): void {
    assertTakeable(name);
    const key = nameKey(name);
    const holder = this.#byKey.get(key);
    if (holder !== undefined) {
      if (holder.id === id && holder.name === name) return;
      throw new CloveError('CONFLICT', 'name already registered', {
        ...(holder.name === name ? {} : { hint: `"${holder.name}" differs from it only in case.` }),
      });
    }
    const names = this.#byId.get(id) ?? [];
    if (names.length >= MAX_NAMES_EACH) {
      throw new CloveError('OVERLOAD', `too many names registered (at most ${MAX_NAMES_EACH})`);
    }
    this.#byKey.set(key, { name, id });
    this.#byId.set(id, [...names, name]);
  }

  idOf(name: string): number | undefined {
    const holder = this.#byKey.get(nameKey(name));
    return holder?.name === name ? holder.id : undefined;
  }

  /** '' when the id holds no name. */
  nameOf(id: number): string {
    return this.#byId.get(id)?.[0] ?? '';
  }

  namesOf(id: number): readonly string[] {
    return this.#byId.get(id) ?? [];
  }

  /** Ids that hold a name, in order of their first one. */
  namedIds(): number[] {
    return [...this.#byId.keys()];
  }

  release(id: number): void {
    for (const name of this.namesOf(id)) this.#byKey.delete(nameKey(name));
    this.#byId.delete(id);
  }
}

function assertTakeable(name: string): void {
  if (name === '') throw new CloveError('BAD_REQUEST', 'name required');
  if (RESERVED_NAMES.includes(nameKey(name))) {
    throw new CloveError('CONFLICT', 'name already registered', {
      hint: `"${name}" is reserved: it means something else to every caller.`,
    });
  }
  if (!isValidName(name)) {
    throw new CloveError('BAD_REQUEST', 'invalid request: malformed name', {
      hint: `A name has at most ${MAX_NAME_LENGTH} printable ASCII characters and starts with a letter, a digit or _.`,
    });
  }
}
