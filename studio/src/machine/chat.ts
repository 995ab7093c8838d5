/** The page's side of a conversation; tokenizer, template and loop stand in the worker, which can be ended. */

import { type Chat, type ChatMessage, type Picture, type ProgramInfo, PxvmError, type Sampling, type Session, type Token } from "../api.ts";
import type { Remote } from "./rpc.ts";
import type { Said } from "./talker.ts";

/** Time that cutting a text into tokens may take: so many milliseconds, and characters in one. */
const [PATIENCE, SPEED] = [10_000, 50];

interface Woken {
  program: ProgramInfo;
  executor: string;
  context: number;
  /** What each token says. */
  pieces: string[];
}

/** A model with room for a conversation, in a worker of its own. */
export async function wakeChat(
  remote: Remote, picture: Picture, name: string, onGpu: boolean,
  session: (program: ProgramInfo, executor: string) => Session,
): Promise<Chat> {
  try {
    const woken = await remote.call<Woken>("wake", picture, name, onGpu);
    return new WorkerChat(remote, session(woken.program, woken.executor), woken);
  } catch (error) {
    remote.close();
    throw error;
  }
}

class WorkerChat implements Chat {
  readonly context: number;

  constructor(
    private readonly remote: Remote,
    readonly session: Session,
    private readonly woken: Woken,
  ) {
    this.context = woken.context;
  }

  text(ids: number[]): string {
    return ids.map((id) => this.woken.pieces[id] ?? "").join("");
  }

  async answer(
    messages: ChatMessage[], sampling: Sampling, told: (token: Token) => void, signal: AbortSignal,
  ): Promise<Said> {
    if (signal.aborted) return { text: "", tokens: 0, cut: false, seconds: 0 };
    const length = messages.reduce((sum, message) => sum + message.content.length, 0);
    const late = setTimeout(() => {
      this.remote.close(new PxvmError(`${this.session.program.title}: the tokenizer cannot cut this text: it took too long`));
    }, PATIENCE + length / SPEED);
    const stop = () => this.remote.tell("hush");
    signal.addEventListener("abort", stop);
    this.remote.heard = (token) => {
      if (token === null) clearTimeout(late);
      else told(token as Token);
    };
    try {
      return await this.remote.call<Said>("answer", messages, sampling);
    } finally {
      clearTimeout(late);
      signal.removeEventListener("abort", stop);
    }
  }
}
