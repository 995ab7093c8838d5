/** BM25 over words: what stands in a record's text counts whole, its source and the ends of words less. */

import tables from "../generated/memory.json";
import { asked, ends, indexed, isLong, terms, withoutArticle } from "./words.ts";

const { search } = tables;
/** As SQLite's FTS5 has them. */
const K1 = 1.2;
const B = 0.75;
const SOURCE = 0.5;
const ENDS = 0.3;

export class TextIndex {
  /** Word → record places and how much the word stands there, in turn. */
  private postings = new Map<string, number[]>();
  private lengths = new Map<number, number>();
  private whole = 0;
  private sorted: string[] | null = null;

  /** Takes in a record at a place, places ascending. */
  add(place: number, text: string, tags: string, source: string): void {
    const counts = new Map<string, number>();
    let length = 0;
    for (const [weight, words] of [
      [1, indexed(`${text}\n${tags}`)],
      [SOURCE, indexed(source)],
      [ENDS, ends(text)],
    ] as const) {
      for (const word of words) counts.set(word, (counts.get(word) ?? 0) + weight);
      length += words.length;
    }
    for (const [word, count] of counts) {
      const posting = this.postings.get(word);
      if (posting) posting.push(place, count);
      else this.postings.set(word, [place, count]);
    }
    this.lengths.set(place, length);
    this.whole += length;
    this.sorted = null;
  }

  /** Places of the best records for a question, best first; `allowed` says which may be found. */
  search(question: string, limit: number, allowed: (place: number) => boolean): [number, number][] {
    const scores = new Map<number, number>();
    const usual = this.whole / Math.max(1, this.lengths.size);
    for (const postings of this.lookedUp(question)) {
      const rarity = this.rarity(postings.length / 2);
      for (let i = 0; i < postings.length; i += 2) {
        const place = postings[i]!;
        if (!allowed(place)) continue;
        const count = postings[i + 1]!;
        const size = 1 - B + (B * this.lengths.get(place)!) / usual;
        const score = (rarity * count * (K1 + 1)) / (count + K1 * size);
        scores.set(place, (scores.get(place) ?? 0) + score);
      }
    }
    return [...scores].sort((a, b) => b[1] - a[1] || b[0] - a[0]).slice(0, limit);
  }

  private rarity(records: number): number {
    return Math.max(1e-6, Math.log((this.lengths.size - records + 0.5) / (records + 0.5)));
  }

  /** The postings of each term of a question, and of other forms of what hardly any record has. */
  private lookedUp(question: string): number[][] {
    const found: number[][] = [];
    for (const word of asked(question).slice(0, search.mostTerms)) {
      const pieces = terms(word);
      const known = pieces.map((piece) => this.of(piece));
      const others = [withoutArticle(word)].filter(Boolean);
      const rare = (known[0]?.length ?? 0) / 2 <= search.rare;
      if (pieces.length === 1 && pieces[0] === word && [...word].length >= search.word && rare) {
        others.push(...this.otherForms(word));
      }
      found.push(...known, ...others.map((other) => this.of(other)));
    }
    return found.filter((postings) => postings.length);
  }

  /** Longer words with this one in them, one with another ending, the parts of a compound. */
  private otherForms(word: string): string[] {
    const letters = [...word];
    const cut = (first: number, last?: number): string => letters.slice(first, last).join("");
    const found: string[] = [];
    for (let stop = letters.length; stop >= Math.max(search.stem, letters.length - search.ending); stop--) {
      if (this.of(`${cut(0, stop)}*`).length) {
        found.push(`${cut(0, stop)}*`);
        break;
      }
    }
    if (isLong(word)) {
      const known = (part: string): boolean => this.of(part).length > 0;
      const cuts = letters.map((_, i) => i).slice(search.word, letters.length - search.word + 1);
      const first = cuts.toReversed().map((i) => cut(0, i)).find(known);
      const last = cuts.map((i) => cut(i)).find(known);
      found.push(...[first, last].filter((part) => part !== undefined));
    }
    return found;
  }

  /** The postings of a term; of a beginning those of all words that have it, together. */
  private of(term: string): number[] {
    if (!term.endsWith("*")) return this.postings.get(term) ?? [];
    const start = term.slice(0, -1);
    const words = (this.sorted ??= [...this.postings.keys()].sort());
    let [low, high] = [0, words.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (words[middle]! < start) low = middle + 1;
      else high = middle;
    }
    const together = new Map<number, number>();
    for (; low < words.length && words[low]!.startsWith(start); low++) {
      const postings = this.postings.get(words[low]!)!;
      for (let i = 0; i < postings.length; i += 2) {
        together.set(postings[i]!, Math.max(together.get(postings[i]!) ?? 0, postings[i + 1]!));
      }
    }
    return [...together].flat();
  }
}
