import type { Picture, Rect, Session } from "../../api.ts";
import type { Run } from "./run.svelte.ts";
import type { Talk } from "./talk.svelte.ts";

/** The part of the picture that is filmed, as it is now. */
export async function shot(session: Session, part: Rect): Promise<Picture> {
  return { width: part.width, height: part.height, words: await session.words(part), texts: new Map() };
}

/** The picture now, and after every so many instructions until the program stops. */
export async function* instructions(run: Run, part: Rect, steps: number, most: number): AsyncGenerator<Picture> {
  const session = await run.machine();
  yield await shot(session, part);
  for (let count = 1; count < most; count++) {
    const stop = await session.step(steps);
    yield await shot(session, part);
    if (stop.status !== "paused" && stop.status !== "ready") return;
  }
}

/** The picture after each token of an answer. */
export async function* tokens(
  run: Run, talk: Talk, part: Rect, question: string, most: number, signal: AbortSignal,
): AsyncGenerator<Picture> {
  const ending = new AbortController();
  const both = AbortSignal.any([signal, ending.signal]);
  const shots: Promise<Picture>[] = [];
  let done = false;
  let wake = (): void => {};
  const answer = talk
    .tell(run, question, () => {
      if (shots.length < most && run.session) shots.push(shot(run.session, part));
      if (shots.length >= most) ending.abort();
      wake();
    }, both)
    .catch((error: unknown) => {
      if (!both.aborted) throw error;
    })
    .finally(() => {
      done = true;
      wake();
    });
  for (let next = 0; ; next++) {
    while (next >= shots.length && !done) await new Promise<void>((resolve) => (wake = resolve));
    if (next >= shots.length) break;
    yield await shots[next];
  }
  await answer;
}
