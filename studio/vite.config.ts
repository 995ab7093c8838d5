import { rmSync } from "node:fs";
import { resolve } from "node:path";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

const page = "../pxvm/studio/page";

/** Samples stand in the folder as well, so only what an earlier build left is taken away. */
function fresh(): Plugin {
  let folder = "";
  return {
    name: "fresh",
    apply: "build",
    configResolved(config) {
      folder = resolve(config.root, config.build.outDir);
    },
    buildStart() {
      rmSync(resolve(folder, "assets"), { recursive: true, force: true });
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
