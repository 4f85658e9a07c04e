/** The six texts that many records have in common, between those that are their own. A chunk has them once, for all that refer to them. */
export class RecordForm {
  readonly texts: readonly string[];
  /** As an entry of a chunk, without its header. */
  readonly bytes: number;
  /** The chunk that it was last written to, and where in it. */
  chunkId = 0;
  at = 0;

  constructor(texts: readonly [string, string, string, string, string, string]) {
    this.texts = texts;
    this.bytes = texts.reduce((sum, { length }) => sum + length, texts.length * 4);
  }
}
