import path from 'node:path';
import { CloveError } from '../../errors/index.ts';
import {
  CHAIN_START,
  type Entry,
  entry as entrySchema,
  type FooterEntry,
  type HeaderEntry,
  linkHash,
  openLine,
} from './format.ts';
import { callKey, Occurrences } from './keying.ts';
import { type Line, linesOf } from './lines.ts';

export interface RecordingSummary {
  /** Hash of the last line: names the content of the whole file. */
  readonly id: string;
  readonly header: HeaderEntry;
  readonly footer: FooterEntry;
  readonly bytes: number;
}

/**
 * Reads a recording, each entry checked before it is handed out: form, order, hash chain, keys and counts, the footer at the
 * end, and the file's name where that is a hash. Returns the summary.
 * @throws DATA_CORRUPT naming the first bad entry (details: line, seq, reason); NOT_FOUND, IO
 */
export async function* readRecording(file: string): AsyncGenerator<Entry, RecordingSummary, void> {
  const check = new Checker(file);
  for await (const line of linesOf(file)) {
    yield check.next(line);
  }
  return check.end();
}

/** The summary of a file that is whole and unchanged. @throws as readRecording */
export async function verifyRecording(file: string): Promise<RecordingSummary> {
  const entries = readRecording(file);
  for (;;) {
    const step = await entries.next();
    if (step.done === true) return step.value;
  }
}

class Checker {
  readonly #file: string;
  readonly #occurrences = new Occurrences();
  readonly #text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #hash = CHAIN_START;
  #seq = 0;
  #calls = 0;
  #lost = 0;
  #bytes = 0;
  #header: HeaderEntry | null = null;
  #footer: FooterEntry | null = null;

  constructor(file: string) {
    this.#file = file;
  }

  next(line: Line): Entry {
    if (this.#footer !== null) throw this.#bad('there is something behind the footer');
    if (!line.ended) throw this.#bad('the entry is cut off');
    const opened = openLine(line.bytes);
    if (opened === null) throw this.#bad('the entry carries no hash');
    if (linkHash(this.#hash, opened.body) !== opened.hash) {
      throw this.#bad('the hash is not that of this entry behind the one before it');
    }
    const entry = this.#parse(opened.body);
    if (entry.seq !== this.#seq) throw this.#bad(`the entry says it is number ${entry.seq}`);
    this.#judge(entry);
    this.#hash = opened.hash;
    this.#seq += 1;
    this.#bytes += line.bytes.length + 1;
    return entry;
  }

  end(): RecordingSummary {
    const { header, footer } = { header: this.#header, footer: this.#footer };
    if (header === null) throw this.#bad('the file is empty');
    if (footer === null) throw this.#bad('the recording ends without a footer: its end is missing');
    const claimed = /^([0-9a-f]{64})\.jsonl$/.exec(path.basename(this.#file))?.[1];
    if (claimed !== undefined && claimed !== this.#hash) {
      throw this.#bad('the file is named after another content');
    }
    return { id: this.#hash, header, footer, bytes: this.#bytes };
  }

  #parse(body: Buffer): Entry {
    let value: unknown;
    try {
      value = JSON.parse(this.#text.decode(body));
    } catch {
      throw this.#bad('the entry is not JSON');
    }
    const parsed = entrySchema.safeParse(value);
    if (parsed.success) return parsed.data;
    throw this.#bad(`the entry has not the form of one: ${parsed.error.issues[0]?.path.join('.') ?? ''}`);
  }

  #judge(entry: Entry): void {
    if ((this.#seq === 0) !== (entry.type === 'header')) {
      throw this.#bad(this.#seq === 0 ? 'the first entry is no header' : 'there is a second header');
    }
    if (entry.type === 'header') this.#header = entry;
    else if (entry.type === 'gap') this.#lost += entry.lost;
    else if (entry.type === 'footer') {
      if (entry.calls !== this.#calls || entry.entries !== this.#seq || entry.lost !== this.#lost) {
        throw this.#bad('the footer counts other entries than there are');
      }
      this.#footer = entry;
    } else if (entry.type === 'call') {
      this.#calls += 1;
      if (entry.redactions === 0 && callKey(entry.opcode, entry.request) !== entry.key) {
        throw this.#bad('the key is not that of the request');
      }
      const occurrence = this.#occurrences.next(entry.agent, entry.incarnation, entry.key);
      if (occurrence !== entry.occurrence && this.#lost === 0) {
        throw this.#bad('the occurrence counts other calls than there are');
      }
    }
  }

  #bad(reason: string): CloveError {
    const line = this.#seq + 1;
    return new CloveError('DATA_CORRUPT', `recording refused: entry ${this.#seq} (line ${line}): ${reason}`, {
      details: { file: this.#file, line, seq: this.#seq, reason },
      hint: 'The file is not as it was written; nothing of it is used.',
    });
  }
}
