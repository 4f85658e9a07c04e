/** The few parts of the browser's interface that page/client/ uses; the compiler runs without the DOM library. */

export interface PageEvent {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly deltaY: number;
  readonly clientX: number;
  readonly clientY: number;
  readonly pointerId: number;
  preventDefault(): void;
}

export interface PageElement {
  id: string;
  hidden: boolean;
  open: boolean;
  checked: boolean;
  disabled: boolean;
  value: string;
  type: string;
  href: string;
  download: string;
  placeholder: string;
  selected: boolean;
  innerHTML: string;
  textContent: string | null;
  tabIndex: number;
  readonly content: PageElement;
  readonly clientWidth: number;
  readonly scrollWidth: number;
  readonly offsetWidth: number;
  readonly offsetHeight: number;
  readonly children: Iterable<PageElement> & { readonly length: number };
  readonly dataset: Record<string, string | undefined>;
  readonly classList: {
    add(name: string): void;
    remove(name: string): void;
    contains(name: string): boolean;
  };
  readonly style: Record<string, string>;
  append(...nodes: (PageElement | string)[]): void;
  replaceChildren(...nodes: (PageElement | string)[]): void;
  replaceWith(node: PageElement): void;
  remove(): void;
  click(): void;
  querySelector(selector: string): PageElement | null;
  querySelectorAll(selector: string): Iterable<PageElement>;
  setAttribute(name: string, value: string): void;
  getAttribute(name: string): string | null;
  removeAttribute(name: string): void;
  scrollIntoView(options?: { block: string }): void;
  setPointerCapture(id: number): void;
  addEventListener(type: string, listener: (event: PageEvent) => void, options?: { passive: boolean }): void;
  getBoundingClientRect(): { readonly left: number; readonly top: number; readonly width: number };
}

export interface PageDocument extends PageElement {
  readonly body: PageElement;
  readonly documentElement: PageElement;
  getElementById(id: string): PageElement | null;
  createElement(name: string): PageElement;
}

/** A vega view, as far as the page steers it. */
export interface PageView {
  signal(name: string, value: unknown): PageView;
  width(pixels: number): PageView;
  runAsync(): Promise<PageView>;
}

export interface PageVega {
  parse(spec: unknown, config: unknown, options: { ast: boolean }): unknown;
  View: new (runtime: unknown, options: Record<string, unknown>) => PageView;
}

export interface PageGlobals {
  readonly document: PageDocument;
  readonly location: { hash: string };
  readonly innerWidth: number;
  vega?: PageVega;
  vegaInterpreter?: unknown;
  addEventListener(type: string, listener: () => void): void;
  matchMedia(query: string): { readonly matches: boolean };
  IntersectionObserver: new (
    callback: (entries: { isIntersecting: boolean; target: PageElement }[]) => void,
    options: { rootMargin: string },
  ) => { observe(element: PageElement): void; unobserve(element: PageElement): void };
  ResizeObserver: new (
    callback: (entries: { target: PageElement }[]) => void,
  ) => {
    observe(element: PageElement): void;
  };
}

export interface ChartData {
  readonly vega: { autosize?: unknown };
  readonly zoom: readonly [number, number] | null;
  readonly controls: boolean;
  readonly filter: readonly string[];
  readonly fixedWidth: boolean;
}

/** What all charts over time show: they move together. */
export interface TimeState {
  readonly first: number;
  readonly last: number;
  low: number;
  high: number;
  runtime: string;
  readonly views: PageView[];
  readonly selects: PageElement[];
}
