/** Dialect 1: the program of a picture whose first pixel spells PXV1, as the verifier leaves it. */

import type { Picture } from "../api.ts";
import { ProgramError } from "./errors.ts";
import { Instruction } from "./instruction.ts";
import { FORMAT, LIMITS, opcodesOf } from "./table.ts";
import { checkPlace, decodeDescriptor, type Descriptor } from "./tensor.ts";
import type { Named } from "./rules.ts";
import { quoted } from "./text.ts";

const TABLE = opcodesOf(1);

/** (first word, words) of what stands alone besides tensors. */
export interface Reserved {
  readonly name: string;
  readonly start: number;
  readonly count: number;
}

export interface Program {
  readonly dialect: 1;
  readonly width: number;
  readonly height: number;
  readonly codeStart: number;
  readonly stateStart: number;
  readonly tableStart: number;
  readonly descriptors: readonly Descriptor[];
  readonly instructions: readonly Instruction[];
  readonly reserved: readonly Reserved[];
  /** Of a Loop its EndLoop; both by number. */
  readonly match: ReadonlyMap<number, number>;
  /** Largest number of steps from start to Halt. */
  readonly budget: number;
  /** (instruction, base) of all that can be reached, the base -1 where no operand is relative to it. */
  readonly visits: readonly (readonly [number, number])[];
}

/** The descriptor that an operand names. */
export function named(operand: number, base: number): number {
  return operand < FORMAT.relative ? operand : base + operand - FORMAT.relative;
}

/** Descriptors of G, B and A that are tensors; of the parameters by name the descriptor, else the number. */
export function operandsOf(
  program: Program,
  instruction: Instruction,
  base: number,
): { tensors: Descriptor[]; named: Named } {
  const tensors: Descriptor[] = [];
  const parameters: Named = {};
  instruction.op.operands.forEach((mode, position) => {
    if (mode.names !== "TENSOR" && mode.names !== "BLOCK") return;
    const d = program.descriptors[named(instruction.operands[position] ?? 0, base)] as Descriptor;
    if (mode.names === "TENSOR") tensors.push(d);
    else {
      instruction.op.parameters.forEach((parameter, number) => {
        const word = d.parameters[number] ?? 0;
        parameters[parameter.name] =
          parameter.mode.names === "TENSOR" ? (program.descriptors[word] as Descriptor) : word;
      });
    }
  });
  return { tensors, named: parameters };
}

/** Decode the program of a picture; nothing is verified yet. */
export function parse(picture: Picture): Omit<Program, "match" | "budget" | "visits"> {
  const { width, height, words } = picture;
  const area = width * height;
  const { headerWords, version: known, stateWords, descriptorWords } = FORMAT;
  if (area < headerWords) throw new ProgramError(`a PXV1 header has ${headerWords} pixels; the image has ${area}`);
  const [, version = 0, codeStart = 0, count = 0, tableStart = 0, tensors = 0, stateStart = 0] = words;
  if (version !== known) {
    const other =
      version < known
        ? "an older pxvm wrote it; make a model's picture again: pxvm import SOURCE -o FILE"
        : "use a newer pxvm";
    throw new ProgramError(`expected format version ${known}; found ${version}: ${other}`);
  }
  const reserved = [
    { name: "header", start: 0, count: headerWords },
    { name: "state", start: stateStart, count: stateWords },
    { name: "code", start: codeStart, count },
    { name: "descriptors", start: tableStart, count: tensors * descriptorWords },
  ];
  for (const { name, start, count: length } of reserved) {
    if (start + length > area) {
      throw new ProgramError(
        `header: ${length} pixels of ${name} from pixel ${start} on leave the image of ${area}`,
      );
    }
  }
  if (count < 1 || count > LIMITS.code || tensors < 1 || tensors > LIMITS.descriptors) {
    throw new ProgramError(`header: found ${count} instructions and ${tensors} descriptors`);
  }
  const descriptors: Descriptor[] = [];
  for (let i = 0; i < tensors; i++) {
    const at = tableStart + i * descriptorWords;
    descriptors.push(decodeDescriptor(words.slice(at, at + descriptorWords), i, tensors, area));
  }
  for (const d of descriptors) checkPlace(d, width, height);
  const reach = descriptors.reduce((sum, d) => sum + (d.isTensor ? d.imageRows(width) : 0), 0);
  if (reach > 64 * (height + tensors)) {
    throw new ProgramError(
      `the tensors reach over ${reach} image rows; at most ${64 * (height + tensors)} for` +
        ` ${tensors} descriptors in ${height} rows, so that parsing stays short`,
    );
  }
  const instructions = Array.from({ length: count }, (_, i) => instruction(i, words[codeStart + i] ?? 0, codeStart, width));
  return { dialect: 1, width, height, codeStart, stateStart, tableStart, descriptors, instructions, reserved };
}

function instruction(index: number, word: number, start: number, width: number): Instruction {
  const byte = word & 255;
  const [x, y] = [(start + index) % width, Math.floor((start + index) / width)];
  const op = TABLE.get(byte);
  if (!op) {
    const known = [...TABLE.values()].map((o) => o.glyph).join(" ");
    throw new ProgramError(
      `instruction ${index} at x=${x}, y=${y}: unknown opcode ${byte} (${quoted(String.fromCharCode(byte))});` +
        ` expected one of ${known}`,
    );
  }
  return new Instruction(index, x, y, byte, op, [(word >> 8) & 255, (word >> 16) & 255, word >>> 24]);
}

/** The state's words as signed numbers. */
export function readState(picture: Picture, start: number): Int32Array {
  return new Int32Array(picture.words.slice(start, start + FORMAT.stateWords).buffer);
}
