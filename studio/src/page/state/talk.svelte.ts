import { type Chat, type ChatMessage, DeviceError, type Memory, type MemoryRecord, RoomError, type Sampling, type Token } from "../../api.ts";
import * as server from "../../memory/server.ts";
import type { t } from "../strings.ts";
import { settings } from "./settings.svelte.ts";
import { evidence, fenced } from "./evidence.ts";
import * as rooms from "./rooms.ts";
import type { Run } from "./run.svelte.ts";

/** One thing that was said; what was said instead of it stands beside it. */
export class Turn {
  text = $state("");
  children = $state.raw<Turn[]>([]);
  /** Which of the children is shown. */
  chosen = $state(0);
  tokens = $state.raw<Token[]>([]);
  evidence = $state.raw<MemoryRecord[]>([]);
  busy = $state(false);
  /** What is done before the first word comes. */
  doing = $state<keyof typeof t.talk.doing | "">("");
  error = $state("");
  told = $state.raw<{ tokens: number; seconds: number; cut: boolean } | null>(null);

  constructor(
    readonly id: number,
    readonly role: "user" | "assistant" | "start",
    readonly parent: Turn | null,
    text = "",
  ) {
    this.text = text;
  }
}

/** Who answers: a model that is open in the page, or the one behind the server. */
export type Talker = { kind: "page"; run: Run } | { kind: "server" };

/** A conversation, with all its branches. */
export class Talk {
  readonly start = new Turn(0, "start", null);
  /** What is shown, from the first question on. */
  readonly path: Turn[] = $derived.by(() => {
    const path: Turn[] = [];
    for (let turn: Turn = this.start; turn.children.length > 0; path.push(turn)) turn = turn.children[turn.chosen];
    return path;
  });
  busy = $state(false);
  draft = $state("");
  private chat: { run: Run; chat: Chat } | null = null;
  private ending: AbortController | null = null;
  private count = 0;

  /** Ask, behind the last answer or instead of an earlier question. */
  async ask(text: string, talker: Talker, memory: Memory | null, instead?: Turn): Promise<void> {
    const parent = instead ? instead.parent! : (this.path.at(-1) ?? this.start);
    const question = this.grow(parent, "user", text);
    await this.answer(question, talker, memory);
  }

  /** Let the model answer a question, once more where it has an answer. */
  async answer(question: Turn, talker: Talker, memory: Memory | null): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    const turn = this.grow(question, "assistant", "");
    turn.busy = true;
    this.ending = new AbortController();
    try {
      const messages = history(question);
      if (talker.kind === "server") await this.behind(turn, messages, memory, this.ending.signal);
      else await this.inside(turn, messages, talker.run, memory, this.ending.signal);
    } catch (error) {
      if (error instanceof DeviceError && talker.kind === "page") await talker.run.retreat(error);
      if (!this.ending.signal.aborted) turn.error = error instanceof Error ? error.message : String(error);
    } finally {
      turn.busy = false;
      turn.doing = "";
      this.busy = false;
    }
  }

  stop(): void {
    this.ending?.abort();
  }

  /** Show another of the things that were said in this place. */
  choose(turn: Turn, by: number): void {
    const { parent } = turn;
    if (!parent) return;
    parent.chosen = (parent.chosen + by + parent.children.length) % parent.children.length;
  }

  clear(): void {
    this.stop();
    this.start.children = [];
    this.start.chosen = 0;
  }

  /** One answer, told token by token to somebody else, such as a film. */
  async tell(run: Run, question: string, told: (token: Token) => void, signal: AbortSignal): Promise<void> {
    const chat = await this.model(run);
    await chat.answer([{ role: "user", content: question }], sampling(), told, signal);
  }

  /** The texts of tokens, where the model of this machine has been woken. */
  words(run: Run, ids: number[]): string[] {
    const chat = this.chat?.run === run ? this.chat.chat : null;
    return chat ? ids.map((id) => chat.text([id])) : [];
  }

  private grow(parent: Turn, role: "user" | "assistant", text: string): Turn {
    const turn = new Turn(++this.count, role, parent, text);
    parent.children = [...parent.children, turn];
    parent.chosen = parent.children.length - 1;
    return turn;
  }

  private async inside(
    turn: Turn, messages: ChatMessage[], run: Run, memory: Memory | null, signal: AbortSignal,
  ): Promise<void> {
    turn.doing = "waking";
    const chat = await this.model(run);
    if (memory) {
      turn.doing = "searching";
      turn.evidence = await evidence(memory, messages.at(-1)!.content);
    }
    turn.doing = "reading";
    run.busy = true;
    const heard = (token: Token) => {
      turn.doing = "";
      turn.tokens = [...turn.tokens, token];
      turn.text += token.text;
    };
    const asked = (): ReturnType<Chat["answer"]> =>
      chat.answer(fenced(messages, turn.evidence), sampling(), heard, signal).catch((error: unknown) => {
        if (!(error instanceof RoomError) || !turn.evidence.length) throw error;
        turn.evidence = turn.evidence.slice(0, -1); // the passage that fits least
        return asked();
      });
    try {
      const told = await asked();
      turn.text = told.text;
      turn.told = told;
    } finally {
      run.busy = false;
      await run.refresh();
    }
  }

  private async behind(turn: Turn, messages: ChatMessage[], memory: Memory | null, signal: AbortSignal): Promise<void> {
    const network = memory instanceof server.ServerMemory ? memory.name : "";
    const begun = performance.now();
    turn.doing = "asking";
    const told = await server.answer(messages, sampling(), network, (text) => {
      turn.doing = "";
      turn.text += text;
    }, signal);
    turn.text = told.text;
    const seconds = (performance.now() - begun) / 1000;
    turn.told = { tokens: told.tokens, seconds, cut: told.finish === "length" };
    if (memory) turn.evidence = await Promise.all(told.evidence.map((number) => memory.record(number)));
    if (memory instanceof server.ServerMemory && told.stored) await memory.refresh();
  }

  private async model(run: Run): Promise<Chat> {
    const session = await run.machine();
    if (this.chat?.run === run && this.chat.chat.session === session) return this.chat.chat;
    const { chat } = await rooms.machine();
    const made = await chat(session).catch(async (error: unknown) => {
      if (!(error instanceof DeviceError)) throw error;
      await run.retreat(error);
      return chat(await run.machine());
    });
    await run.adopt(made.session);
    this.chat = { run, chat: made };
    return made;
  }
}

function sampling(): Sampling {
  const { temperature, topP, seed, maxTokens } = settings.sampling;
  return { temperature, topP, maxTokens, seed: settings.seeded ? seed : Math.floor(Math.random() * 2 ** 31) };
}

/** What a model is told: the system's words, then everything up to this question. */
function history(question: Turn): ChatMessage[] {
  const messages: ChatMessage[] = [];
  for (let turn: Turn | null = question; turn && turn.role !== "start"; turn = turn.parent) {
    messages.unshift({ role: turn.role, content: turn.text });
  }
  const system = settings.system.trim();
  return system ? [{ role: "system", content: system }, ...messages] : messages;
}
