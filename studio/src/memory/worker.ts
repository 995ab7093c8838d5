/** The reading side of a network in a worker: a large memory never keeps the page waiting. */

import type { Picture } from "../api.ts";
import { Network } from "./network.ts";
import { FilePage, PicturePage, type Page } from "./page.ts";

/** A page as its file, or as its pixels where another program has saved it. */
export type Source = Uint8Array<ArrayBuffer> | Picture;
export type Method = "records" | "record" | "history" | "growth" | "bits" | "search";
export interface Request {
  id: number;
  open?: Source[];
  call?: Method;
  given?: unknown[];
}
/** What the page needs to know after every call. */
export interface Summary {
  count: number;
  standing: number;
  rows: number;
  problems: string[];
}
export interface Reply {
  id: number;
  value?: unknown;
  summary?: Summary;
  error?: string;
}

let network: Network;

function open(sources: Source[]): void {
  const pages: Page[] = sources.map((source) =>
    source instanceof Uint8Array ? new FilePage(source) : new PicturePage(source),
  );
  const number = (page: Page): number => page.places[0]?.header.page ?? 0;
  network = new Network(pages.sort((a, b) => number(a) - number(b)));
}

self.onmessage = async ({ data }: MessageEvent<Request>) => {
  const reply: Reply = { id: data.id };
  try {
    if (data.open) open(data.open);
    if (data.call) {
      const method = network[data.call] as (...given: unknown[]) => unknown;
      reply.value = await method.apply(network, data.given ?? []);
    }
    const { count, counting, rows, problems } = network;
    reply.summary = { count, standing: counting, rows, problems };
  } catch (error) {
    reply.error = error instanceof Error ? error.message : String(error);
  }
  self.postMessage(reply);
};
