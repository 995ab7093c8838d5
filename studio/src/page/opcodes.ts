import tables from "../generated/tables.json";
import { css } from "./picture/colors.ts";

export interface Known {
  semantics: string;
  color: string;
  /** Names of its parameters' words, in order. */
  parameters: string[];
}

const known = new Map<string, Known>();
for (const row of tables.opcodes) {
  const [red, green, blue] = row.color as [number, number, number];
  const parameters = row.parameters.map((each: { name: string }) => each.name);
  known.set(`${row.dialect} ${row.name}`, { semantics: row.semantics, color: css([red, green, blue]), parameters });
}

/** What Python's table says of an opcode. */
export const opcode = (dialect: number, name: string): Known | undefined => known.get(`${dialect} ${name}`);
