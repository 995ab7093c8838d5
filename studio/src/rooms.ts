/** The studio's rooms as one module, rooms.js: for pages that show less, or otherwise; tests as well. */
export * as memory from "./memory/index.ts";
export * as film from "./film/index.ts";
