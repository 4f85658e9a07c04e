/** Where a definition came from: what is needed to have it again, elsewhere too. Plain JSON. */
export type Origin =
  /** It is all here. */
  | { readonly kind: 'inline'; readonly definition: Readonly<Record<string, unknown>> }
  /** A world of the catalogue, with what was laid over it. */
  | {
      readonly kind: 'template';
      readonly template: string;
      readonly overlay: Readonly<Record<string, unknown>>;
    }
  /** A file on the host: it holds code, or names some. */
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly overlay: Readonly<Record<string, unknown>>;
    };
