/** Calls into a worker: each has a number, and its answer comes back under it. */

import { DeviceError, type Progress, PxvmError, RoomError } from "../api.ts";

export interface Call {
  id: number;
  method: string;
  args: unknown[];
}

export type Answer =
  | { id: number; value: unknown }
  | { id: number; error: string; kind: keyof typeof ERRORS }
  | { progress: Parameters<Progress> }
  | { told: unknown };

const ERRORS = { device: DeviceError, room: RoomError, expected: PxvmError, fault: Error };

export class Remote {
  private next = 0;
  private readonly waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  private ended: Error | null = null;
  /** Hears what a call that is under way tells. */
  heard: (told: unknown) => void = () => undefined;

  constructor(
    private readonly worker: Worker,
    private readonly progress?: Progress,
  ) {
    worker.onmessage = ({ data }: MessageEvent<Answer>) => this.take(data);
    worker.onerror = (event) => this.end(new PxvmError(event.message || "the machine's worker cannot be started"));
  }

  call<T>(method: string, ...args: unknown[]): Promise<T> {
    if (this.ended) return Promise.reject(this.ended);
    const id = this.next++;
    const found = new Promise<unknown>((resolve, reject) => this.waiting.set(id, { resolve, reject }));
    this.worker.postMessage({ id, method, args } satisfies Call);
    return found as Promise<T>;
  }

  /** A call whose end nobody waits for. */
  tell(method: string): void {
    if (!this.ended) this.worker.postMessage({ id: this.next++, method, args: [] } satisfies Call);
  }

  /** What is under way is refused. */
  close(reason = new PxvmError("the machine is closed: open the file again")): void {
    this.end(reason);
  }

  private take(answer: Answer): void {
    if ("progress" in answer) {
      this.progress?.(...answer.progress);
      return;
    }
    if ("told" in answer) {
      this.heard(answer.told);
      return;
    }
    const waiting = this.waiting.get(answer.id);
    this.waiting.delete(answer.id);
    if (!("error" in answer)) waiting?.resolve(answer.value);
    else waiting?.reject(new ERRORS[answer.kind](answer.error));
  }

  private end(error: Error): void {
    this.ended = error;
    this.worker.terminate();
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}
