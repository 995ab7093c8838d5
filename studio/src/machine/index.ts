/** The machine: opens files, runs programs in WebAssembly, talks with models; each in a worker of its own. */

import {
  type Chat, type Cost, type Opened, type Picture, type ProgramInfo, type Progress, PxvmError, type Rect, type RunOptions,
  type Session, type Stop,
} from "../api.ts";
import { wakeChat } from "./chat.ts";
import { Remote } from "./rpc.ts";

const WASM = "wasm";

function worker(progress?: Progress): Remote {
  return new Remote(new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }), progress);
}

/** Opens whatever the user dropped. Rejects with a PxvmError where it is no PNG that pxVM reads. */
export async function open(name: string, bytes: Uint8Array<ArrayBuffer>, progress?: Progress): Promise<Opened> {
  const remote = worker(progress);
  try {
    return { ...(await remote.call<Omit<Opened, "bytes">>("open", name, bytes)), bytes };
  } finally {
    remote.close();
  }
}

/** A machine for an opened program. */
export async function start(opened: Opened, progress?: Progress): Promise<Session> {
  if (!opened.program) {
    throw new PxvmError(opened.refused ?? `${opened.name}: expected a program; found a ${opened.kind}`);
  }
  const remote = worker(progress);
  try {
    return new WorkerSession(remote, await remote.call<ProgramInfo>("start", opened.picture, opened.name), WASM);
  } catch (error) {
    remote.close();
    throw error;
  }
}

/** A picture as a PNG file. */
export async function encode(picture: Picture): Promise<Uint8Array> {
  const remote = worker();
  try {
    return await remote.call<Uint8Array>("encode", picture);
  } finally {
    remote.close();
  }
}

/**
 * A model that answers, on what its session runs on; its own session is another one, whose picture has
 * room for a conversation.
 */
export async function chat(session: Session): Promise<Chat> {
  const picture = await session.picture();
  const remote = worker();
  return wakeChat(
    remote, picture, session.program.title, session.executor !== WASM,
    (program, executor) => new WorkerSession(remote, program, executor),
  );
}

class WorkerSession implements Session {
  constructor(
    private readonly remote: Remote,
    readonly program: ProgramInfo,
    readonly executor: string,
  ) {}

  run(options: RunOptions = {}): Promise<Stop> {
    return this.remote.call("run", options);
  }

  step(count = 1): Promise<Stop> {
    return this.remote.call("step", count);
  }

  back(count = 1): Promise<Stop> {
    return this.remote.call("back", count);
  }

  profile(maxSteps: number): Promise<Cost[]> {
    return this.remote.call("profile", maxSteps);
  }

  stop(): void {
    this.remote.tell("stop");
  }

  read(tensor: number): Promise<Float64Array> {
    return this.remote.call("read", tensor);
  }

  write(tensor: number, values: ArrayLike<number>): Promise<void> {
    return this.remote.call("write", tensor, Array.from(values));
  }

  words(rect: Rect): Promise<Uint32Array> {
    return this.remote.call("words", rect);
  }

  picture(): Promise<Picture> {
    return this.remote.call("picture");
  }

  save(): Promise<Uint8Array> {
    return this.remote.call("save");
  }

  sha256(): Promise<string> {
    return this.remote.call("sha256");
  }

  async close(): Promise<void> {
    this.remote.close();
  }
}
