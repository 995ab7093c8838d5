import { settings } from "./state/settings.svelte.ts";
import { studio } from "./state/studio.svelte.ts";

/** Put the focus on what takes text in the view: the search or the message. */
function focusText(): void {
  document.querySelector<HTMLElement>("main [data-text]")?.focus();
}

/** Ask for files. */
export function chooseFiles(): void {
  document.querySelector<HTMLInputElement>("#files")?.click();
}

const KEYS: Record<string, () => void> = {
  o: chooseFiles,
  "[": () => studio.turn(-1),
  "]": () => studio.turn(1),
  r: () => void studio.current?.run?.run(),
  x: () => halt(),
  Escape: () => halt(),
  s: () => void studio.current?.run?.step(),
  b: () => void studio.current?.run?.back(),
  "/": focusText,
  "?": () => (studio.help = true),
};

function halt(): void {
  studio.current?.run?.halt();
  studio.current?.talk.stop();
}

/** A key that no part of the page has used. */
export function pressed(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || studio.help) return;
  const target = event.target as HTMLElement;
  if (target.closest("input, select, textarea, dialog, [contenteditable]")) return;
  if (!settings.keys && event.key !== "Escape") return;
  const { current } = studio;
  const view = current?.views[Number(event.key) - 1];
  const act = view ? () => (current!.view = view) : KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}
