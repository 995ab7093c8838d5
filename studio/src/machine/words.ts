/** Text to tokens and back: what the picture of a model carries; pxvm/models/text. */

import { Template } from "@huggingface/jinja";
import { Tokenizer } from "@huggingface/tokenizers";
import type { ChatMessage, Picture } from "../api.ts";
import { FormatError, ProgramError } from "./errors.ts";
import type { Program } from "./program1.ts";
import { tensorWords } from "./tensor.ts";
import type { Wasm } from "./wasm.ts";

const MOST_JSON = 1 << 25;
const MOST_SETTINGS = 1 << 20;
const MOST_TEMPLATE = 1 << 16;
const MOST_TOKENS = 1 << 20;
/** What stands for a character that is cut short. */
const CUT = "\ufffd";

/** A part of a tokenizer, as the library's JSON has it. */
interface Part {
  type?: string;
  pretokenizers?: Part[];
  pre_tokenizer?: Part | null;
  individual_digits?: boolean;
}

interface Settings {
  bos: number | null;
  add_bos: boolean;
  stops: number[];
  template: string | null;
}

export class Words {
  readonly stops: ReadonlySet<number>;
  private readonly template: Template | null;

  private constructor(
    private readonly inner: Tokenizer,
    private readonly settings: Settings,
    private readonly where: string,
  ) {
    this.stops = new Set(settings.stops);
    const { template } = settings;
    if (template !== null && template.length > MOST_TEMPLATE) {
      throw new FormatError(
        `the model's chat template: expected at most ${MOST_TEMPLATE} characters; found ${template.length}`,
      );
    }
    try {
      this.template = template === null ? null : new Template(template);
    } catch (error) {
      throw new FormatError(`the model's chat template cannot be read: ${reason(error)}`);
    }
  }

  /** The tokenizer that a picture carries. */
  static load(wasm: Wasm, picture: Picture, program: Program, where: string): Words {
    const packed = stored(picture, program, "tokenizer", where);
    const room = wasm.take(packed.length + MOST_JSON, "the tokenizer");
    wasm.bytes(room, packed.length).set(packed);
    const to = room + packed.length;
    try {
      if (wasm.functions.inflate(room, packed.length, to, MOST_JSON)) {
        throw new Error(`more than ${MOST_JSON} bytes, or cut short`);
      }
      const json = JSON.parse(new TextDecoder().decode(wasm.bytes(to, wasm.functions.inflatedTo()).slice())) as Part;
      const raw = stored(picture, program, "settings", where).subarray(0, MOST_SETTINGS);
      const settings = checked(JSON.parse(new TextDecoder().decode(raw).replace(/\0+$/, "")));
      return new Words(new Tokenizer(faithful(json), {}), settings, where);
    } catch (error) {
      if (error instanceof FormatError) throw error;
      throw new FormatError(`${where}: the tokenizer is damaged: ${reason(error)}`);
    }
  }

  /** Tokens of a conversation, up to where the model goes on. */
  conversation(messages: readonly ChatMessage[]): number[] {
    if (!this.template) throw new ProgramError(`${this.where}: this model carries no chat template: use generate`);
    const { bos, stops } = this.settings;
    const spelt = (token: number | null | undefined) => (token == null ? "" : (this.inner.id_to_token(token) ?? ""));
    let text: string;
    try {
      text = this.template.render({
        messages: messages.map((message) => ({ ...message })),
        add_generation_prompt: true, tools: null, documents: null, bos_token: spelt(bos), eos_token: spelt(stops[0]),
      });
    } catch (error) {
      throw new FormatError(`the model's chat template fails: ${reason(error)}`);
    }
    return this.encode(text, false);
  }

  /** `special`: also what the model wants around a text, such as a first token. */
  encode(text: string, special: boolean): number[] {
    let ids: number[];
    try {
      ids = this.inner.encode(text, { add_special_tokens: special }).ids;
    } catch (error) {
      throw new FormatError(`${this.where}: the tokenizer cannot cut this text: ${reason(error)}`);
    }
    const { bos, add_bos } = this.settings;
    return special && add_bos && bos !== null && ids[0] !== bos ? [bos, ...ids] : ids;
  }

  decode(ids: readonly number[], special = false): string {
    return ids.length ? this.inner.decode([...ids], { skip_special_tokens: !special, clean_up_tokenization_spaces: false }) : "";
  }

  /** What each token says on its own, special ones included. */
  each(count: number): string[] {
    return Array.from({ length: Math.min(count, MOST_TOKENS) }, (_, id) => {
      try {
        return this.decode([id], true);
      } catch {
        return "";
      }
    });
  }

  stream(): Stream {
    return new Stream(this);
  }
}

/** Text of tokens that arrive one by one: characters of several tokens come out whole. */
class Stream {
  private readonly ids: number[] = [];
  /** Tokens before these are all said; those from `first` to `read` are, too, and show how the next join them. */
  private first = 0;
  private read = 0;
  text = "";

  constructor(private readonly words: Words) {}

  put(id: number): string {
    this.ids.push(id);
    const before = this.words.decode(this.ids.slice(this.first, this.read));
    const now = this.words.decode(this.ids.slice(this.first));
    if (now.length <= before.length || now.endsWith(CUT)) return "";
    [this.first, this.read] = [this.read, this.ids.length];
    return this.say(now.slice(before.length));
  }

  /** What is left when no token follows. */
  finish(): string {
    return this.say(this.words.decode(this.ids).slice(this.text.length));
  }

  private say(piece: string): string {
    this.text += piece;
    return piece;
  }
}

function stored(picture: Picture, program: Program, name: string, where: string): Uint8Array {
  const d = program.descriptors.find((each) => each.name === name);
  if (!d) throw new ProgramError(`${where}: expected a tokenizer in the image; found none: it takes tokens only`);
  if (d.dtypeName !== "RGBA") throw new ProgramError(`${name}: expected bytes in an RGBA tensor; found ${d.dtypeName}`);
  return new Uint8Array(tensorWords(picture, d, 0, d.rows).buffer);
}

function checked(raw: unknown): Settings {
  const { bos = null, add_bos = false, stops = [], template = null } = raw as Partial<Settings>;
  const token = (value: unknown) => Number.isInteger(value) && (value as number) >= 0;
  const fits =
    (bos === null || token(bos)) && typeof add_bos === "boolean" && Array.isArray(stops) && stops.every(token) &&
    (template === null || typeof template === "string");
  if (!fits) throw new Error("its settings are not those of a tokenizer");
  return { bos, add_bos, stops, template };
}

/** The tokenizer so that the page's library cuts as Python's does: there Digits are numbers of every script. */
function faithful(json: Part): object {
  const part = (one: Part): object => {
    if (one.pretokenizers) return { ...one, pretokenizers: one.pretokenizers.map(part) };
    if (one.type !== "Digits") return one;
    const Regex = one.individual_digits ? "\\p{N}" : "\\p{N}+";
    return { type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false };
  };
  const { pre_tokenizer: cutting } = json;
  return { ...json, pre_tokenizer: cutting ? part(cutting) : cutting, truncation: null, padding: null };
}

/** A foreign error's first words, on one line. */
function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s+/g, " ").slice(0, 200);
}
