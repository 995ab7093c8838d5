/** The project's WGSL, as `python -m pxvm.studio.generated` writes it, for a device and a program. */

import tables from "../generated/shaders.json";

export const NUMBERS = tables.numbers;
export const FIELDS: readonly string[] = tables.fields;
export const LIMITS: Record<string, number> = tables.limits;
export const POWERS: readonly number[] = tables.powers;
export const ROW = tables.row;

/** The shader of an opcode, without its `op_`. */
export function operation(code: number): string {
  const found = (tables.operations as Record<string, string>)[code];
  if (!found) throw new Error(`no shader for opcode ${code}`);
  return found.slice(3);
}

/**
 * The module with entry points `run_x` for the operations given.
 *
 * @param window words of the picture in one binding
 * @param windows bindings that the picture takes
 * @param grouped whether there are weights of four bits
 */
export function moduleText(
  window: number,
  windows: number,
  grouped: boolean,
  operations: Iterable<string>,
): string {
  const given: Record<string, string> = {
    $WINDOW: `${window}u`,
    $WINDOWS: `${windows}u`,
    $GROUPED: `${grouped}`,
  };
  const module = tables.module.replace(/\$[A-Z]+/g, (name) => given[name]!);
  const entries = [...operations].map((name) => tables.entry.replaceAll("$OPERATION", name));
  return [module, ...entries].join("\n");
}

/** Opcodes whose workgroups take a row each. */
export const BY_ROWS: ReadonlySet<string> = new Set(tables.byRows);
