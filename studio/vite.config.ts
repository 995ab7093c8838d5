import { rmSync } from "node:fs";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

const page = "../pxvm/studio/page";

/** Samples stand in the folder as well, so only what an earlier build left is taken away. */
function fresh(): Plugin {
  return {
    name: "fresh",
    apply: "build",
    buildStart() {
      rmSync(new URL(`${page}/assets`, import.meta.url), { recursive: true, force: true });
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [fresh(), svelte()],
  worker: { format: "es" },
  build: {
    outDir: page,
    emptyOutDir: false,
    target: "es2022",
    // Files beside the page, because its content policy admits no data: scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { index: "index.html", rooms: "src/rooms.ts" },
      preserveEntrySignatures: "exports-only",
      output: {
        entryFileNames: (chunk) => (chunk.name === "rooms" ? "rooms.js" : "assets/[name]-[hash].js"),
      },
    },
  },
});
