/** The other rooms, loaded when they are first needed. */
export const machine = () => import("../../machine/index.ts");
export const gpu = () => import("../../gpu/index.ts");
export const memory = () => import("../../memory/index.ts");
