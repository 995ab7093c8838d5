/** One pixel of program. */

import type { Opcode } from "./table.ts";

export class Instruction {
  constructor(
    readonly index: number,
    readonly x: number,
    readonly y: number,
    /** The R byte as it stands, which in the oldest files is not `op.code`. */
    readonly code: number,
    readonly op: Opcode,
    readonly operands: readonly [number, number, number],
  ) {}

  /** As font-code. */
  toString(): string {
    const name = this.code === this.op.code ? this.op.glyph : String(this.code);
    const used = [...this.operands];
    while (used.length && used[used.length - 1] === 0) used.pop();
    return [name, ...used].join("@");
  }

  /** Where it stands and what it is, for messages. */
  get place(): string {
    return `instruction ${this.index} at x=${this.x}, y=${this.y} (${this}, ${this.op.name})`;
  }
}
