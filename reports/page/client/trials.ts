import type { PageElement } from '../dom.ts';
import type { BaseTools } from './base.ts';

/** The table of experiments and the drill-down of large runs. */
export function trialTools({ button, choice, make, pageGlobals, unpack }: BaseTools) {
  /** Opens the drill-down that the address names ("#trial=exp_014"), unpacking it first in a large run. */
  async function openTrial(): Promise<void> {
    const page = pageGlobals();
    let name: string;
    try {
      name = decodeURIComponent(page.location.hash.slice(1));
    } catch {
      return;
    }
    if (!name.startsWith('trial=')) return;
    const place = page.document.getElementById('trial-detail');
    if (place !== null) {
      const id = name.slice('trial='.length);
      const index = JSON.parse(await unpack('index')) as Record<string, number>;
      const chunk = Object.hasOwn(index, id) ? index[id] : undefined;
      if (chunk === undefined) {
        place.replaceChildren(make('p', `There is no experiment ${id} in this run.`));
        place.scrollIntoView({ block: 'center' });
        return;
      }
      const details = JSON.parse(await unpack(`details-${chunk}`)) as Record<string, string>;
      // Markup made and escaped when the report was drawn; the page's policy runs no script in it either.
      place.innerHTML = details[id] ?? '';
    }
    for (const found of page.document.querySelectorAll('details.found')) found.classList.remove('found');
    const element = page.document.getElementById(name);
    if (element === null) return;
    element.open = true;
    element.classList.add('found');
    element.scrollIntoView({ block: 'start' });
  }

  function sortValue(row: PageElement, column: number): number | string {
    const cell = [...row.children][column];
    const value = cell?.dataset.v;
    if (value !== undefined) return value === '' ? Number.NEGATIVE_INFINITY : Number(value);
    return cell?.textContent ?? '';
  }

  /** Search, filter, sorting and pages for the table of experiments. */
  async function startTable(): Promise<void> {
    const page = pageGlobals();
    const table = page.document.getElementById('trial-table');
    const tools = page.document.getElementById('trial-tools');
    const caption = page.document.getElementById('trial-count');
    const body = table?.querySelector('tbody');
    if (!table || !tools || !body || !caption) return;
    let rows = [...body.children];
    if (table.dataset.packed) {
      const template = make('template');
      template.innerHTML = await unpack(table.dataset.packed);
      rows = [...template.content.children];
    }
    const entries = rows.map((row, order) => ({ row, order, text: (row.textContent ?? '').toLowerCase() }));
    const state = { query: '', kind: '', column: -1, descending: false, page: 0 };
    const size = 100;
    const earlier = button('←', 'Earlier page', () => turn(-1));
    const later = button('→', 'Next page', () => turn(1));
    const render = (): void => {
      const found = entries.filter(
        ({ row, text }) =>
          (state.kind === '' || row.dataset.state === state.kind) &&
          state.query.split(/\s+/).every((word) => text.includes(word)),
      );
      if (state.column >= 0) {
        const keyed = found.map((entry) => ({ entry, key: sortValue(entry.row, state.column) }));
        keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.entry.order - b.entry.order));
        if (state.descending) keyed.reverse();
        found.splice(0, found.length, ...keyed.map(({ entry }) => entry));
      }
      const pages = Math.max(1, Math.ceil(found.length / size));
      state.page = Math.min(Math.max(0, state.page), pages - 1);
      const from = state.page * size;
      body.replaceChildren(...found.slice(from, from + size).map(({ row }) => row));
      caption.textContent =
        found.length === 0
          ? 'No experiment matches'
          : `${from + 1} to ${Math.min(from + size, found.length)} of ${found.length} experiments`;
      earlier.disabled = state.page === 0;
      later.disabled = state.page === pages - 1;
      earlier.hidden = pages === 1;
      later.hidden = pages === 1;
    };
    const turn = (by: number): void => {
      state.page += by;
      render();
    };
    const search = make('input', '', {
      type: 'search',
      placeholder: 'id or setting',
      'aria-label': 'Search experiments',
    });
    search.addEventListener('input', () => {
      state.query = search.value.trim().toLowerCase();
      state.page = 0;
      render();
    });
    const kinds = [
      ['', 'all'],
      ['failed', 'failed somewhere'],
      ['retried', 'retried'],
      ['clean', 'clean'],
    ] as const;
    tools.append(
      search,
      choice('Show', kinds, (value) => {
        state.kind = value;
        state.page = 0;
        render();
      }),
      earlier,
      later,
    );
    const headers = [...table.querySelectorAll('thead th')];
    headers.forEach((header, column) => {
      const sorter = make('button', header.textContent ?? '', { type: 'button' });
      sorter.addEventListener('click', () => {
        state.descending = state.column === column ? !state.descending : header.classList.contains('num');
        state.column = column;
        for (const other of headers) other.removeAttribute('aria-sort');
        header.setAttribute('aria-sort', state.descending ? 'descending' : 'ascending');
        render();
      });
      header.replaceChildren(sorter);
    });
    caption.setAttribute('aria-live', 'polite');
    tools.hidden = false;
    render();
  }

  return { openTrial, startTable };
}

export type TrialTools = ReturnType<typeof trialTools>;
