import type { ChatMessage, Memory, MemoryRecord } from "../../api.ts";

/** Passages that a small model in the page is given, and characters of each. */
const PASSAGES = 3;
const LONGEST = 600;

/** What a memory knows of a question, the best first. */
export async function evidence(memory: Memory, question: string): Promise<MemoryRecord[]> {
  const hits = await memory.search(question, PASSAGES);
  return hits.map((hit) => hit.record);
}

/** Put evidence before the question, between the marks that `pxvm` knows; it is data, no instruction. */
export function fenced(messages: ChatMessage[], records: MemoryRecord[]): ChatMessage[] {
  const question = messages.at(-1);
  if (!question || records.length === 0) return messages;
  const passages = records.map((record) => {
    const text = `${record.title}\n${record.text}`.trim().slice(0, LONGEST).replace(/[⟦⟧]/g, "");
    return `⟦recalled ${record.number} · ${record.time.slice(0, 10)}⟧\n${text}\n⟦/recalled⟧`;
  });
  return [...messages.slice(0, -1), { ...question, content: `${passages.join("\n")}\n\n${question.content}` }];
}
