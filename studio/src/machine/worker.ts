/** The worker in which files are opened and programs run. */

import { type ChatMessage, DeviceError, type Picture, PxvmError, RoomError, type Sampling } from "../api.ts";
import { openBytes } from "./opening.ts";
import type { Answer, Call } from "./rpc.ts";
import { encodePicture, Runner } from "./runner.ts";
import type { Talker } from "./talker.ts";

interface Scope {
  onmessage: ((event: MessageEvent<Call>) => void) | null;
  postMessage(message: Answer, transfer: Transferable[]): void;
}

const scope = globalThis as unknown as Scope;
let runner: Talker["runner"] | null = null;
let talker: Talker | null = null;

function bound(): Talker["runner"] {
  if (!runner) throw new PxvmError("expected a program in the machine; found none");
  return runner;
}

const METHODS: Record<string, (...args: never[]) => unknown> = {
  open: (name: string, bytes: Uint8Array) =>
    openBytes(name, bytes, (...progress) => scope.postMessage({ progress }, [])),
  encode: (picture: Picture) => encodePicture(picture),
  start: async (picture: Picture, name: string) => {
    runner = await Runner.make(picture, name);
    return runner.program;
  },
  wake: async (picture: Picture, name: string, onGpu: boolean) => {
    talker = await (await import("./talker.ts")).Talker.make(picture, name, onGpu);
    runner = talker.runner;
    const executor = runner instanceof Runner ? "wasm" : runner.executor;
    const vocabulary = runner.program.tensors.find((tensor) => tensor.name === "logits")?.cols ?? 0;
    return { program: runner.program, executor, context: talker.context, pieces: talker.words.each(vocabulary) };
  },
  answer: (messages: ChatMessage[], sampling: Sampling) =>
    talker?.answer(messages, sampling, (told) => scope.postMessage({ told }, [])),
  hush: () => talker?.stop(),
  run: (...args: Parameters<Runner["run"]>) => bound().run(...args),
  step: (...args: Parameters<Runner["step"]>) => bound().step(...args),
  back: (...args: Parameters<Runner["back"]>) => bound().back(...args),
  profile: (maxSteps: number) => {
    const one = bound();
    if (!(one instanceof Runner)) throw new PxvmError("expected a program in WebAssembly to time its instructions");
    return one.profile(maxSteps);
  },
  stop: () => bound().stop(),
  read: (...args: Parameters<Runner["read"]>) => bound().read(...args),
  write: (...args: Parameters<Runner["write"]>) => bound().write(...args),
  words: (...args: Parameters<Runner["words"]>) => bound().words(...args),
  picture: () => bound().picture(),
  save: () => bound().save(),
  sha256: () => bound().sha256(),
};

scope.onmessage = async ({ data: { id, method, args } }) => {
  try {
    const value = await METHODS[method]?.(...(args as never[]));
    scope.postMessage({ id, value }, buffers(value));
  } catch (error) {
    const kind =
      error instanceof DeviceError ? "device"
      : error instanceof RoomError ? "room"
      : error instanceof PxvmError ? "expected"
      : "fault";
    scope.postMessage({ id, error: error instanceof Error ? error.message : String(error), kind }, []);
  }
};

/** Memory of an answer that is given away rather than copied. */
function buffers(value: unknown): Transferable[] {
  if (value instanceof Uint32Array || value instanceof Uint8Array || value instanceof Float64Array) {
    return [value.buffer as ArrayBuffer];
  }
  const words = (value as { words?: unknown } | undefined)?.words;
  if (words instanceof Uint32Array) return [words.buffer as ArrayBuffer];
  const inner = (value as { picture?: Picture } | undefined)?.picture?.words;
  return inner instanceof Uint32Array ? [inner.buffer as ArrayBuffer] : [];
}
