import { readFileSync, readdirSync, rmSync } from "node:fs";
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

/** What others wrote and is in the page, workers included, with the licence of each. */
function licenses(): Plugin {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");
  return {
    name: "licenses",
    apply: "build",
    generateBundle() {
      const names = [...Object.keys(JSON.parse(read("package.json")).dependencies), "svelte", "clsx", "assemblyscript"];
      const parts = names.sort().map((name) => {
        const folder = `node_modules/${name}`;
        const { version, license, repository } = JSON.parse(read(`${folder}/package.json`));
        const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
        const source = (repository?.url ?? repository).replace(/^git\+|\.git$/g, "");
        return `## ${name} ${version}, ${license}, ${source}\n\n${file ? read(`${folder}/${file}`) : ""}`;
      });
      this.emitFile({ type: "asset", fileName: "licenses.md", source: parts.join("\n") });
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [fresh(), licenses(), svelte()],
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
