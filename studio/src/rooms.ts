/** The studio's rooms as one module, rooms.js: for pages that show less, or otherwise; tests as well. */
export * as film from "./film/index.ts";
export * as gpu from "./gpu/index.ts";
export * as machine from "./machine/index.ts";
export * as memory from "./memory/index.ts";
