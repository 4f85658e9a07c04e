/** Lists that do not grow beyond their limit and know what they are missing. */

/** The first and the last of many: how something began, and how it ended. */
export class FirstAndLast<Item> {
  readonly #first: Item[] = [];
  readonly #last: Item[] = [];
  readonly #half: number;
  seen = 0;

  constructor(limit: number) {
    this.#half = Math.max(1, Math.floor(limit / 2));
  }

  add(item: Item): void {
    this.seen += 1;
    if (this.#first.length < this.#half) this.#first.push(item);
    else {
      this.#last.push(item);
      // Cut in pieces: taking one from the front each time would cost the list's length.
      if (this.#last.length > this.#half * 2) this.#last.splice(0, this.#last.length - this.#half);
    }
  }

  items(): readonly Item[] {
    return [...this.#first, ...this.#last.slice(-this.#half)];
  }

  /** The kept neighbours of what is missing; null = nothing is. */
  gap(): readonly [Item, Item] | null {
    if (this.seen <= this.items().length) return null;
    const before = this.#first.at(-1);
    const behind = this.#last.slice(-this.#half)[0];
    return before === undefined || behind === undefined ? null : [before, behind];
  }
}

/** Rows by key; those that come when it is full are only counted. */
export class Rows<Row> {
  readonly #rows = new Map<string, Row>();
  readonly #lost = new Set<string>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The row of a key, made where there is room; null = there is none. */
  at(key: string, make: () => Row): Row | null {
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    if (this.#rows.size >= this.#limit) {
      // Of names without end no list is kept either.
      if (this.#lost.size < this.#limit * 10) this.#lost.add(key);
      return null;
    }
    const row = make();
    this.#rows.set(key, row);
    return row;
  }

  rows(): readonly Row[] {
    return [...this.#rows.values()];
  }

  get lost(): number {
    return this.#lost.size;
  }
}
