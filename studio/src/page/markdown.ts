/** A model's Markdown as a tree of plain text: nothing of it is ever read as HTML. */

export type Inline =
  | { kind: "text"; text: string }
  | { kind: "code"; text: string }
  | { kind: "strong" | "emphasis"; children: Inline[] };

export type Block =
  | { kind: "paragraph"; children: Inline[] }
  | { kind: "heading"; level: number; children: Inline[] }
  | { kind: "code"; text: string; language: string }
  | { kind: "quote"; children: Block[] }
  | { kind: "list"; ordered: boolean; start: number; items: Block[][] }
  | { kind: "table"; head: Inline[][]; rows: Inline[][][] }
  | { kind: "rule" };

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/s;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(\s+)(.*)$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const DIVIDER = /^\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?$/;
/** Quotes and lists nest so deep; what is deeper is text. */
const DEEPEST = 8;

export function markdown(text: string): Block[] {
  return blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0);
}

function blocks(lines: string[], depth: number): Block[] {
  const found: Block[] = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (!line.trim()) {
      at++;
      continue;
    }
    const [block, next] = read(lines, at, depth);
    found.push(block);
    at = next;
  }
  return found;
}

/** The block that begins at a line, and the line behind it. */
function read(lines: string[], at: number, depth: number): [Block, number] {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return code(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return [{ kind: "heading", level: heading[1].length, children: inline(unclosed(heading[2])) }, at + 1];
  if (RULE.test(line)) return [{ kind: "rule" }, at + 1];
  if (depth < DEEPEST && line.startsWith(">")) {
    const end = behind(lines, at, (each) => each.startsWith(">"));
    const inner = lines.slice(at, end).map((each) => each.replace(/^>\s?/, ""));
    return [{ kind: "quote", children: blocks(inner, depth + 1) }, end];
  }
  if (depth < DEEPEST && ITEM.test(line)) return list(lines, at, depth);
  if (line.includes("|") && DIVIDER.test((lines[at + 1] ?? "").trim()) && lines[at + 1].includes("-")) return table(lines, at);
  const end = Math.max(at + 1, behind(lines, at, (each, index) => plain(each, index > at)));
  return [{ kind: "paragraph", children: inline(lines.slice(at, end).join("\n")) }, end];
}

/** A heading's words without the marks that may end it; no pattern, which takes long on much space. */
function unclosed(heading: string): string {
  const text = heading.trim();
  let end = text.length;
  while (text[end - 1] === "#") end--;
  return end === 0 || /\s/.test(text[end - 1]) ? text.slice(0, end).trimEnd() : text;
}

function plain(line: string, follows: boolean): boolean {
  return Boolean(line.trim()) && !(follows && (FENCE.test(line) || HEADING.test(line) || ITEM.test(line) || line.startsWith(">")));
}

function behind(lines: string[], at: number, goes: (line: string, index: number) => boolean): number {
  let end = at;
  while (end < lines.length && goes(lines[end], end)) end++;
  return end;
}

function code(lines: string[], at: number, [, mark, language]: RegExpExecArray): [Block, number] {
  const end = behind(lines, at + 1, (line) => !line.trim().startsWith(mark));
  return [{ kind: "code", text: lines.slice(at + 1, end).join("\n"), language }, end + 1];
}

function list(lines: string[], at: number, depth: number): [Block, number] {
  const first = ITEM.exec(lines[at])!;
  const ordered = /\d/.test(first[2]);
  const items: Block[][] = [];
  while (at < lines.length) {
    const match = ITEM.exec(lines[at]);
    if (!match || /\d/.test(match[2]) !== ordered) break;
    const indent = match[1].length + match[2].length + Math.min(4, match[3].length);
    const own = [match[4]];
    at++;
    while (at < lines.length && (lines[at].startsWith(" ".repeat(indent)) || !lines[at].trim() || !starts(lines[at]))) {
      if (!lines[at].trim() && !(lines[at + 1] ?? "").startsWith(" ".repeat(indent))) break;
      own.push(lines[at].startsWith(" ".repeat(indent)) ? lines[at].slice(indent) : lines[at].trimStart());
      at++;
    }
    while (at < lines.length && !lines[at].trim() && ITEM.test(lines[at + 1] ?? "")) at++;
    items.push(blocks(own, depth + 1));
  }
  return [{ kind: "list", ordered, start: ordered ? Number.parseInt(first[2], 10) : 1, items }, at];
}

function starts(line: string): boolean {
  return ITEM.test(line) || FENCE.test(line) || HEADING.test(line) || line.startsWith(">");
}

function table(lines: string[], at: number): [Block, number] {
  const end = behind(lines, at + 2, (line) => line.includes("|"));
  const cells = (line: string) =>
    line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => inline(cell.trim()));
  return [{ kind: "table", head: cells(lines[at]), rows: lines.slice(at + 2, end).map(cells) }, end];
}

/** What is marked has an end near enough that looking for it stays short, however many marks have none. */
const INLINE =
  /(`+)(.{1,2000}?)\1(?!`)|\*\*(?=\S)(.{1,2000}?)\*\*|__(?=\S)(.{1,2000}?)__|\*(?=[^\s*])(.{1,2000}?)\*|(?<!\w)_(?=\S)(.{1,2000}?)_(?!\w)|\\([!-/:-@[-`{-~])/s;

/** Code, strong and emphasis within a text; links stay what they are: text. */
export function inline(text: string): Inline[] {
  const found: Inline[] = [];
  let rest = text;
  for (let match = INLINE.exec(rest); match; match = INLINE.exec(rest)) {
    if (match.index) found.push({ kind: "text", text: rest.slice(0, match.index) });
    const strong = match[3] ?? match[4];
    const emphasis = match[5] ?? match[6];
    if (match[2] !== undefined) found.push({ kind: "code", text: match[2] });
    else if (strong !== undefined) found.push({ kind: "strong", children: inline(strong) });
    else if (emphasis !== undefined) found.push({ kind: "emphasis", children: inline(emphasis) });
    else found.push({ kind: "text", text: match[7] });
    rest = rest.slice(match.index + match[0].length);
  }
  if (rest) found.push({ kind: "text", text: rest });
  return found;
}
