/** What the team says to each other. */

export const EFFECTS = ['raises', 'lowers', 'leaves'] as const;
export type Effect = (typeof EFFECTS)[number];

/** One statement of a paper: of its own figures, or passed on from another. */
export interface Statement {
  readonly substance: string;
  readonly outcome: string;
  readonly effect: Effect;
  readonly paper: string;
  /** Whose word it is, where it is not the paper's own. */
  readonly restsOn: string | null;
  readonly figures: { readonly responded: number; readonly people: number; readonly percent: number } | null;
}

export type TeamMessage =
  | {
      readonly type: 'start';
      /** By name: what each scout looks for. */
      readonly topics: Readonly<Record<string, readonly string[]>>;
      /** On the world's clock; each a moment of its own, so that no two ask at the same one. */
      readonly beginsMs: Readonly<Record<string, number>>;
      /** Who is to be told of what was read: the critic, or the synthesiser at once. */
      readonly reader: string;
      /** On the world's clock. */
      readonly untilMs: number;
      /** Who will say `done` to the synthesiser. */
      readonly feeders: readonly string[];
    }
  | { readonly type: 'read'; readonly statements: readonly Statement[] }
  | { readonly type: 'done'; readonly unread: number };

/** What the synthesiser writes: every finding with who says what. */
export interface Review {
  readonly findings: readonly {
    readonly substance: string;
    readonly outcome: string;
    /** Several = the literature contradicts itself. */
    readonly positions: readonly { readonly effect: Effect; readonly citations: readonly string[] }[];
  }[];
}
