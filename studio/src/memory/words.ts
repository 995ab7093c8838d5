/** Words of any language, folded and cut as pxvm/learning/search/words.py says; its rules are generated. */

import tables from "../generated/memory.json";

const { words: rules } = tables;
const { long, end, longest } = rules.lengths;
const made = (pattern: string, anchored = ""): RegExp => new RegExp(anchored + pattern, "gus");
const [dropped, word, run, unit, longWord] = [
  rules.dropped, rules.word, rules.run, rules.unit, rules.long,
].map((pattern) => made(pattern)) as [RegExp, RegExp, RegExp, RegExp, RegExp];
const article = new RegExp(`^(?:${rules.article})`, "us");
const anyRun = new RegExp(rules.run, "us");
const plain = new Map(Object.entries(rules.plain));
const casefold = new Map(Object.entries(rules.casefold));
const folds = new RegExp(`[${[...casefold.keys()].join("")}]`, "gu");
const plains = new RegExp(`[${[...plain.keys()].join("")}]`, "gu");
const stopWords = new Set(rules.stopWords);
const isAscii = (text: string): boolean => /^[\0-\x7f]*$/.test(text);
/** What the text index takes for words: those of FTS5 with its categories L*, N*, M* and Co. */
const TOKEN = /[\p{L}\p{N}\p{M}\p{Co}]+/gu;
/** The same, and long words, where all is ASCII: several times as fast. */
const PLAIN_TOKEN = /[a-z0-9]+/g;
const PLAIN_LONG = new RegExp(`\\w{${long},}`, "g");

/** A text as it is compared: every way of writing the same word becomes one. */
export function folded(text: string): string {
  const lower = text.toLowerCase();
  if (isAscii(text)) return lower;
  const folding = text.normalize("NFKC").toLowerCase().replace(folds, (c) => casefold.get(c)!);
  const bare = folding.normalize("NFD").replace(dropped, "");
  return bare.normalize("NFC").replace(plains, (c) => plain.get(c)!);
}

/** The words of a text for the index; a run without spaces is the pairs in it. */
export function indexed(text: string): string[] {
  const ready = folded(text);
  if (isAscii(ready)) return ready.match(PLAIN_TOKEN) ?? [];
  return ready.replace(run, (whole) => ` ${pairs(whole).join(" ")} `).match(TOKEN) ?? [];
}

/** The ends of a text's long words: of "boathouses" "athouses", "thouses" ... */
export function ends(text: string): string[] {
  const found = new Set<string>();
  const ready = folded(text);
  const ascii = isAscii(ready);
  for (const each of ready.match(ascii ? PLAIN_LONG : longWord) ?? []) {
    const letters = ascii ? each : [...each];
    if (letters.length > longest || (!ascii && anyRun.test(each))) continue;
    for (let first = 2; first <= letters.length - end; first++) {
      found.add(typeof letters === "string" ? letters.slice(first) : letters.slice(first).join(""));
    }
  }
  if (!ascii) {
    for (const each of ready.match(word) ?? []) found.add(withoutArticle(each));
  }
  found.delete("");
  return [...found];
}

/** An Arabic or Hebrew word without the article and the particles written on it, or "". */
export function withoutArticle(text: string): string {
  const match = article.exec(text);
  return match ? text.slice(match[0].length) : "";
}

/** The words of a question that tell something; all where none does. */
export function asked(text: string): string[] {
  const found = [...new Set(folded(text).match(word) ?? [])];
  const names = new Set<string>();
  const upper = text !== text.toLowerCase() && text === text.toUpperCase();
  (upper ? [] : (text.match(word) ?? [])).forEach((each, number) => {
    const isUpper = each === each.toUpperCase() && each !== each.toLowerCase();
    const begins = [...each][0]!;
    const isName = number > 0 && begins !== begins.toLowerCase();
    if ([...each].length > 1 && (isUpper || isName)) names.add(folded(each));
  });
  const telling = found.filter((each) => names.has(each) || !stopWords.has(each));
  return telling.length ? telling : found;
}

/** What of the index a folded word is looked up by; one that ends in "*" is a beginning. */
export function terms(text: string): string[] {
  const between = (part: string): string[] => part.match(TOKEN) ?? [];
  const found: string[] = [];
  let last = 0;
  for (const match of text.matchAll(run)) {
    found.push(...between(text.slice(last, match.index)));
    const units = match[0].match(unit) ?? [];
    for (let i = 1; i < units.length; i++) found.push(units[i - 1]! + units[i]!);
    if (units.length === 1) found.push(`${units[0]}*`);
    last = match.index + match[0].length;
  }
  return [...found, ...between(text.slice(last))];
}

/** The neighbouring characters of a run, and the last alone, so that each begins some word. */
function pairs(whole: string): string[] {
  const units = whole.match(unit) ?? [];
  return [...units.slice(1).map((each, i) => units[i]! + each), ...units.slice(-1)];
}

export const isLong = (text: string): boolean => {
  const size = [...text].length;
  return size >= long && size <= longest;
};

const WINDOW = 240;

/** The stretch of a text, about a sentence or two, that has most of a question's words. */
export function snippet(text: string, question: string): string {
  const wanted = new Set(asked(question).flatMap(terms).map((term) => term.replace(/\*$/, "")));
  if (text.length <= WINDOW) return text;
  let best = { start: 0, score: -1 };
  for (let start = 0; start < Math.min(text.length, 20_000); start += WINDOW / 2) {
    const there = new Set(indexed(text.slice(start, start + WINDOW)));
    const score = [...wanted].filter((term) => there.has(term)).length;
    if (score > best.score) best = { start, score };
  }
  const from = best.start ? text.indexOf(" ", best.start) + 1 || best.start : 0;
  const to = from + WINDOW;
  return `${from ? "… " : ""}${text.slice(from, to).trim()}${to < text.length ? " …" : ""}`;
}

/** How a text is taken apart, for whoever wants to compare: folded, asked, the ends of its long words. */
export const cut = (text: string): [string, string[], string[]] => [folded(text), asked(text), ends(text)];
