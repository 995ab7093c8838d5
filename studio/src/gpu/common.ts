/** What the sessions of both dialects have in common: one thing at a time, and stopping. */

import {
  type Picture,
  type ProgramInfo,
  PxvmError,
  type Rect,
  type RunOptions,
  type Session,
  type Stop,
} from "../api.ts";

/** A picture as a PNG file. */
export type Encode = (picture: Picture) => Promise<Uint8Array>;

export abstract class Common implements Session {
  protected stopping = false;
  private closing = false;
  private last: Promise<unknown> = Promise.resolve();
  private closed = false;

  constructor(
    readonly program: ProgramInfo,
    readonly executor: string,
    private readonly encode: Encode,
  ) {}

  protected abstract execute(options: RunOptions): Promise<Stop>;
  /** Where it stands; nothing happens. */
  protected abstract standing(): Stop;
  protected abstract goBack(count: number): Promise<Stop>;
  protected abstract values(tensor: number): Promise<Float64Array>;
  protected abstract put(tensor: number, values: ArrayLike<number>): Promise<void>;
  protected abstract part(rect: Rect): Promise<Uint32Array>;
  protected abstract pixels(): Promise<Picture>;
  protected abstract release(): void;

  run(options: RunOptions = {}): Promise<Stop> {
    return this.moving(() => this.execute(options));
  }

  step(count = 1): Promise<Stop> {
    return this.moving(async () => (count > 0 ? this.execute({ maxSteps: count }) : this.standing()));
  }

  back(count = 1): Promise<Stop> {
    return this.moving(() => this.goBack(count));
  }

  stop(): void {
    this.stopping = true;
  }

  read(tensor: number): Promise<Float64Array> {
    return this.alone(() => this.values(tensor));
  }

  write(tensor: number, values: ArrayLike<number>): Promise<void> {
    return this.alone(() => this.put(tensor, values));
  }

  words(rect: Rect): Promise<Uint32Array> {
    return this.alone(() => this.part(rect));
  }

  picture(): Promise<Picture> {
    return this.alone(() => this.pixels());
  }

  async save(): Promise<Uint8Array> {
    return this.encode(await this.picture());
  }

  async sha256(): Promise<string> {
    const { width, height, words } = await this.picture();
    const head = new TextEncoder().encode(`${width}x${height}\n`);
    const all = new Uint8Array(head.length + words.byteLength);
    all.set(head);
    all.set(new Uint8Array(words.buffer, words.byteOffset, words.byteLength), head.length);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
    return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  close(): Promise<void> {
    this.stopping = this.closing = true;
    return this.alone(async () => {
      this.closed = true;
      this.release();
    });
  }

  private moving(action: () => Promise<Stop>): Promise<Stop> {
    return this.alone(() => {
      this.stopping = this.closing;
      return action();
    });
  }

  /** What is asked for while something runs waits until that is done. */
  protected alone<T>(action: () => Promise<T>): Promise<T> {
    const next = this.last.then(() => {
      if (this.closed) throw new PxvmError("this program was closed: open its file again");
      return action();
    });
    this.last = next.catch(() => undefined);
    return next;
  }
}
