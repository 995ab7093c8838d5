/** The instruction set and the format as Python's tables say them. */

import tables from "../generated/tables.json";

export type Flow = "NEXT" | "HALT" | "YIELD" | "LOOP" | "END_LOOP" | "CALL" | "RETURN" | "SKIP";
/** What the number in an operand byte or a parameter word stands for. */
export type Names = "NOTHING" | "ROW" | "TENSOR" | "BLOCK" | "NUMBER";

export interface Mode {
  readonly name: string;
  readonly names: Names;
  readonly reads: boolean;
  readonly writes: boolean;
  readonly words: string;
}

export interface Parameter {
  readonly name: string;
  readonly mode: Mode;
  readonly types: readonly string[];
}

export interface Opcode {
  readonly code: number;
  readonly name: string;
  readonly dialect: number;
  readonly legacy: number | null;
  readonly glyph: string;
  readonly operands: readonly Mode[];
  readonly types: readonly (readonly string[])[];
  readonly shape: string;
  readonly semantics: string;
  readonly color: readonly number[];
  readonly flow: Flow;
  readonly parameters: readonly Parameter[];
  readonly inPlace: boolean;
  readonly addsBias: boolean;
}

const modes = new Map<string, Mode>(
  Object.entries(tables.modes).map(([name, mode]) => [name, { name, ...mode, names: mode.names as Names }]),
);

function mode(name: string): Mode {
  const found = modes.get(name);
  if (!found) throw new Error(`no mode ${name}`);
  return found;
}

export const OPCODES: readonly Opcode[] = tables.opcodes.map((op) => ({
  ...op,
  flow: op.flow as Flow,
  glyph: String.fromCharCode(op.code),
  operands: op.operands.map(mode),
  parameters: op.parameters.map((p) => ({ ...p, mode: mode(p.mode) })),
}));

/** Rows of one dialect by R byte, the oldest files' numeric codes included. */
export function opcodesOf(dialect: number): Map<number, Opcode> {
  const rows = OPCODES.filter((op) => op.dialect === dialect);
  const found = new Map(rows.map((op) => [op.code, op]));
  for (const op of rows) if (op.legacy !== null) found.set(op.legacy, op);
  return found;
}

export const DTYPE = tables.dtypes;
export const ROLE = tables.roles;
export const STATE = tables.state;
export const MULTIPLES: Record<string, number> = tables.multiples;
export const FORMAT = tables.format;
export const LIMITS = tables.limits;
export const STATUS = tables.statuses;
export const MATRIX = tables.matrix;
export const PNG = tables.png;

export const DTYPE_NAMES = new Map(Object.entries(tables.dtypes).map(([name, value]) => [value, name]));
export const ROLE_NAMES = new Map(Object.entries(tables.roles).map(([name, value]) => [value, name]));
