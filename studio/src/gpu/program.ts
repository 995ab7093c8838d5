/** What an instruction of a verified program names, as the host that dispatches it needs it. */

import type { Instruction } from "../machine/instruction.ts";
import { named, type Program } from "../machine/program1.ts";
import type { Descriptor } from "../machine/tensor.ts";

export interface Operands {
  /** Of G, B and A, those that are tensors. */
  tensors: Descriptor[];
  /** Of the parameters the tensors, by name. */
  linked: Record<string, Descriptor>;
  /** The other parameters. */
  numbers: Record<string, number>;
  /** Descriptors of operands, tensors or blocks, in order. */
  named: number[];
  /** Tensors that are written. */
  written: Set<number>;
}

/** What an instruction names with a base. */
export function operandsOf(program: Program, at: Instruction, base: number): Operands {
  const found: Operands = { tensors: [], linked: {}, numbers: {}, named: [], written: new Set() };
  at.op.operands.forEach((mode, place) => {
    if (mode.names !== "TENSOR" && mode.names !== "BLOCK") return;
    const index = named(at.operands[place]!, base);
    const d = program.descriptors[index]!;
    found.named.push(index);
    if (mode.names === "TENSOR") {
      found.tensors.push(d);
      if (mode.writes) found.written.add(index);
      return;
    }
    at.op.parameters.forEach((parameter, number) => {
      const word = d.parameters[number]!;
      if (parameter.mode.names !== "TENSOR") {
        found.numbers[parameter.name] = word;
        return;
      }
      found.linked[parameter.name] = program.descriptors[word]!;
      if (parameter.mode.writes) found.written.add(word);
    });
  });
  return found;
}
