import { type FileHandle, mkdir, open, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import { CHAIN_START, type GapEntry, sealLine } from './format.ts';

/** Entries that wait for the disk; more than this is a gap. */
const MAX_QUEUED_BYTES = 32 * 2 ** 20;
/** Callers named in a gap. */
const MAX_GAP_AGENTS = 1000;

export type GapReason = GapEntry['reason'];

/** Where the file stands when everything before was written. */
interface Mark {
  readonly hash: string;
  readonly seq: number;
}

export interface WriterOptions {
  readonly folder: string;
  /** Of the file while it is written; [a-z0-9-]. */
  readonly name: string;
  readonly maxQueuedBytes?: number;
  /** Called once, when the disk does not take any more. */
  readonly onFailure: (error: Error) => void;
}

/**
 * Appends entries to one file, each linked to the one before. Nothing waits for the disk: entries queue up to a limit, and
 * what does not fit is counted and said in a `gap` entry as soon as there is room. The finished file bears its last hash as
 * its name, and so names its whole content.
 */
export class RecordingWriter {
  readonly #options: WriterOptions;
  readonly #partial: string;
  #file: FileHandle | null = null;
  #queue: string[] = [];
  #queuedBytes = 0;
  #head: Mark = { hash: CHAIN_START, seq: 0 };
  /** As far as the disk has taken it. */
  #written: Mark = this.#head;
  #writtenBytes = 0;
  #pumping: Promise<void> | null = null;
  #failed: Error | null = null;
  #lost = 0;
  #lostNow = 0;
  readonly #lostAgents = new Set<number>();
  #lostOfAnybody = false;
  #gapReason: GapReason = 'queue_full';

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#partial = path.join(options.folder, `${options.name}.part`);
  }

  get partialPath(): string {
    return this.#partial;
  }

  /** Bytes taken, written or not. */
  get bytes(): number {
    return this.#writtenBytes + this.#queuedBytes;
  }

  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Calls that are not in the file. */
  get lost(): number {
    return this.#lost;
  }

  get failure(): Error | null {
    return this.#failed;
  }

  /** Number the next entry will have. */
  get nextSeq(): number {
    return this.#head.seq;
  }

  /** Takes an entry, its `seq` given here. false = no room, and now counted as lost. */
  append(agent: number, make: (seq: number) => object): boolean {
    if (this.#failed !== null || this.#queuedBytes >= (this.#options.maxQueuedBytes ?? MAX_QUEUED_BYTES)) {
      this.lose(agent, this.#failed === null ? 'queue_full' : 'write_failed');
      return false;
    }
    this.#sayGap();
    this.#push(make);
    return true;
  }

  /** Counts a call that is not recorded. */
  lose(agent: number, reason: GapReason): void {
    this.#lost += 1;
    this.#lostNow += 1;
    this.#gapReason = reason;
    if (this.#lostAgents.size < MAX_GAP_AGENTS) this.#lostAgents.add(agent);
    else this.#lostOfAnybody ||= !this.#lostAgents.has(agent);
  }

  /** Resolves when all that was taken is in the file. @throws the disk's error */
  async flush(): Promise<void> {
    while (this.#pumping !== null) await this.#pumping;
    if (this.#failed !== null) throw this.#failed;
  }

  /**
   * Says what was lost, adds the footer, syncs and gives the file its name: the hash of its last line. After a failure of
   * the disk it tries once more, from where the disk had got. @throws the disk's error; the partial file is left then
   */
  async finish(footer: (seq: number, lost: number) => object): Promise<{ path: string; id: string }> {
    while (this.#pumping !== null) await this.#pumping;
    if (this.#failed !== null) await this.#recover();
    this.#sayGap();
    this.#push((seq) => footer(seq, this.#lost));
    const id = this.#head.hash;
    await this.flush();
    const target = path.join(this.#options.folder, `${id}.jsonl`);
    await this.#file?.sync();
    await this.#file?.close();
    this.#file = null;
    await rename(this.#partial, target);
    await syncFolder(this.#options.folder);
    return { path: target, id };
  }

  /** Gives the file up. */
  async abandon(): Promise<void> {
    while (this.#pumping !== null) await this.#pumping;
    await this.#file?.close();
    this.#file = null;
    await unlink(this.#partial).catch(() => {});
  }

  #sayGap(): void {
    if (this.#lostNow === 0) return;
    const lost = this.#lostNow;
    const agents = this.#lostOfAnybody ? null : [...this.#lostAgents];
    const reason = this.#gapReason;
    this.#lostNow = 0;
    this.#lostAgents.clear();
    this.#lostOfAnybody = false;
    this.#push((seq) => ({ type: 'gap', seq, at: new Date().toISOString(), reason, lost, agents }));
  }

  #push(make: (seq: number) => object): void {
    const { line, hash } = sealLine(this.#head.hash, JSON.stringify(make(this.#head.seq)));
    this.#head = { hash, seq: this.#head.seq + 1 };
    this.#queue.push(line);
    this.#queuedBytes += Buffer.byteLength(line) + 1;
    this.#pumping ??= this.#pump();
  }

  async #pump(): Promise<void> {
    // All that comes in one turn of the event loop is one write.
    await new Promise((resolve) => setImmediate(resolve));
    try {
      while (this.#queue.length > 0) {
        const head = this.#head;
        const batch = Buffer.from(`${this.#queue.join('\n')}\n`);
        this.#queue = [];
        this.#file ??= await this.#open();
        await writeFully(this.#file, batch, this.#writtenBytes);
        this.#writtenBytes += batch.length;
        this.#queuedBytes -= batch.length;
        this.#written = head;
      }
    } catch (error) {
      this.#fail(error as Error);
    } finally {
      this.#pumping = null;
    }
  }

  async #open(): Promise<FileHandle> {
    await mkdir(this.#options.folder, { recursive: true, mode: 0o700 });
    return open(this.#partial, 'wx', 0o600);
  }

  #fail(error: Error): void {
    // The chain goes on from the last entry that the disk has; the others are lost, and that is counted.
    const unwritten = this.#head.seq - this.#written.seq;
    this.#lost += unwritten;
    this.#lostNow += unwritten;
    this.#lostOfAnybody ||= unwritten > 0;
    this.#gapReason = 'write_failed';
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#head = this.#written;
    this.#failed = error;
    this.#options.onFailure(error);
  }

  async #recover(): Promise<void> {
    if (this.#file === null) throw this.#failed;
    await this.#file.truncate(this.#writtenBytes);
    this.#failed = null;
  }
}

/** The name of a file is on disk when its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeFully(file: FileHandle, data: Buffer, position: number): Promise<void> {
  let done = 0;
  while (done < data.length) {
    const { bytesWritten } = await file.write(data, done, data.length - done, position + done);
    if (bytesWritten === 0) throw new Error('the disk takes no more');
    done += bytesWritten;
  }
}
