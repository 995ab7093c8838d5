import type { Sampling } from "../../api.ts";

export type Theme = "auto" | "light" | "dark";

interface Kept {
  theme: Theme;
  /** Single letters do something. */
  keys: boolean;
  system: string;
  sampling: Required<Sampling>;
  /** A seed of one's own; else every answer has another. */
  seeded: boolean;
}

const NAME = "pxvm-studio";

const GIVEN: Kept = {
  theme: "auto",
  keys: true,
  system: "",
  sampling: { temperature: 0, topP: 1, seed: 1, maxTokens: 256 },
  seeded: true,
};

function read(): Kept {
  try {
    const kept = JSON.parse(localStorage.getItem(NAME) ?? "{}") as Partial<Kept>;
    return { ...GIVEN, ...kept, sampling: { ...GIVEN.sampling, ...kept.sampling } };
  } catch {
    return structuredClone(GIVEN);
  }
}

/** What a person has chosen; stays in this browser. */
export const settings = $state(read());

/** Keep the settings and apply the theme, from now on. */
export function keepSettings(): void {
  $effect(() => {
    document.documentElement.dataset.theme = settings.theme;
    try {
      localStorage.setItem(NAME, JSON.stringify(settings));
    } catch {
      // A browser that keeps nothing still shows everything.
    }
  });
}

export function givenSettings(): void {
  Object.assign(settings, { system: GIVEN.system, sampling: { ...GIVEN.sampling }, seeded: GIVEN.seeded });
}
