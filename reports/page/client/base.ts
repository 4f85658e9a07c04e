import type { PageElement, PageGlobals } from '../dom.ts';

/** What every part of the page's script uses. */
export function baseTools() {
  function pageGlobals(): PageGlobals {
    return globalThis as unknown as PageGlobals;
  }

  /** Text of a gzip block of the page. */
  async function unpack(id: string): Promise<string> {
    const block = pageGlobals().document.getElementById(`pack-${id}`);
    if (block === null) throw new Error(`the page carries no block ${id}`);
    const binary = atob((block.textContent ?? '').trim());
    const bytes = new Uint8Array(binary.length);
    for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
  }

  function make(name: string, text = '', attributes: Record<string, string> = {}): PageElement {
    const element = pageGlobals().document.createElement(name);
    element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  function button(text: string, label: string, action: () => void): PageElement {
    const element = make('button', text, { type: 'button', 'aria-label': label, title: label });
    element.addEventListener('click', action);
    return element;
  }

  function choice(
    label: string,
    options: readonly (readonly [string, string])[],
    action: (value: string) => void,
  ) {
    const wrapper = make('label', `${label} `);
    const select = make('select');
    for (const [value, text] of options) select.append(make('option', text, { value }));
    select.addEventListener('change', () => action(select.value));
    wrapper.append(select);
    return wrapper;
  }

  return { pageGlobals, unpack, make, button, choice };
}

export type BaseTools = ReturnType<typeof baseTools>;
