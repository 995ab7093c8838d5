/** The project's WGSL, as `python -m pxvm.studio.generated` writes it, for a device and a program. */

import tables from "../generated/shaders.json";
import plannedAt from "../generated/planned.wgsl?url";
import rowAt from "../generated/row.wgsl?url";
import { DeviceError } from "../api.ts";

export const NUMBERS = tables.numbers;
export const FIELDS: readonly string[] = tables.fields;
export const LIMITS: Record<string, number> = tables.limits;
export const POWERS: readonly number[] = tables.powers;

const texts = new Map<string, Promise<string>>();

/** A text beside the page, which page and workers share. */
function text(address: string): Promise<string> {
  let found = texts.get(address);
  if (!found) {
    found = fetch(address).then((answer) => {
      if (!answer.ok) throw new DeviceError(`the page's shaders are not there (${answer.status}): load it again`);
      return answer.text();
    });
    found.catch(() => texts.delete(address));
    texts.set(address, found);
  }
  return found;
}

/** The module of dialect 0 for pictures of a width. */
export async function rowText(width: number): Promise<string> {
  return `const WIDTH: u32 = ${width}u;\n${await text(rowAt)}`;
}

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
export async function moduleText(
  window: number,
  windows: number,
  grouped: boolean,
  operations: Iterable<string>,
): Promise<string> {
  const given: Record<string, string> = {
    $WINDOW: `${window}u`,
    $WINDOWS: `${windows}u`,
    $GROUPED: `${grouped}`,
  };
  const module = (await text(plannedAt)).replace(/\$[A-Z]+/g, (name) => given[name]!);
  const entries = [...operations].map((name) => tables.entry.replaceAll("$OPERATION", name));
  return [module, ...entries].join("\n");
}

/** Opcodes whose workgroups take a row each. */
export const BY_ROWS: ReadonlySet<string> = new Set(tables.byRows);
