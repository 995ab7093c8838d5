/**
 * The verifier of dialect 1: walks every path with the base register's every value, so that afterwards
 * no operand, shape, place or overlap is open. The order of its checks is docs/VERIFIER.md's.
 */

import type { Picture } from "../api.ts";
import { ProgramError } from "./errors.ts";
import type { Instruction } from "./instruction.ts";
import { checkOverlaps } from "./overlaps.ts";
import { named, parse, type Program, readState } from "./program1.ts";
import { type Named, need, RULES } from "./rules.ts";
import { DTYPE, FORMAT, LIMITS, ROLE, STATE, STATUS } from "./table.ts";
import { type Descriptor, shapeText } from "./tensor.ts";

type Parsed = ReturnType<typeof parse>;
/** Steps, loops inside, calls inside. */
type Cost = readonly [number, number, number];

/** Admit a dialect 1 program or refuse it. */
export function verify(picture: Picture): Program {
  const parsed = parse(picture);
  for (const d of parsed.descriptors) checkLinks(parsed.descriptors, d);
  checkOverlaps(parsed);
  const walk = new Walk(picture, parsed);
  const budget = walk.main();
  checkState(picture, parsed, walk);
  return { ...parsed, match: walk.match, budget, visits: walk.visits() };
}

function checkLinks(table: readonly Descriptor[], d: Descriptor): void {
  try {
    if (!d.isTensor) return;
    if (d.length !== null) {
      const link = table[d.length] as Descriptor;
      const one = link.dtype === DTYPE.I32 && link.flat === 1 && link.length === null;
      need(one && link.role !== ROLE.SCRATCH, "a kept I32 scalar as length", link);
      need(d.extents.length > 1, "at least two extents with a length", d);
    }
    const weights = d.dtype === DTYPE.I8 || d.dtype === DTYPE.I4;
    if (d.scale !== null) {
      const count = weights ? d.rows : d.dtype === DTYPE.I16 ? 1 : 0;
      constantList(table[d.scale] as Descriptor, DTYPE.SCALE, count, `${count} constant scales [n]`, d);
    }
    if (d.bias !== null) {
      const count = weights ? d.rows : d.dtype === DTYPE.I16 ? d.cols : 0;
      constantList(table[d.bias] as Descriptor, DTYPE.I32, count, `a constant I32 bias [${count}]`, d);
    }
    if (weights || d.dtype === DTYPE.I16 || d.dtype === DTYPE.SCALE) {
      need(d.role === ROLE.CONSTANT, `a constant role for ${d.dtypeName}`, d);
    }
  } catch (error) {
    throw new ProgramError(`descriptor ${d.index} (${d.name}): ${(error as Error).message}`);
  }
}

function constantList(link: Descriptor, dtype: number, count: number, expected: string, d: Descriptor): void {
  const fits = link.dtype === dtype && link.extents.length === 1 && link.flat === count;
  need(fits && link.role === ROLE.CONSTANT, expected, d, link);
}

/** Visits every instruction with every base that can reach it. */
class Walk {
  readonly code: readonly Instruction[];
  readonly match = new Map<number, number>();
  /** Of each block's first instruction its last. */
  readonly ends = new Map<number, number>();
  private readonly inner: number[] = [];
  private readonly visited = new Set<number>();
  private readonly checked = new Set<number>();
  private readonly costs = new Map<number, Cost>();
  private work = 0;

  constructor(
    private readonly picture: Picture,
    readonly program: Parsed,
  ) {
    this.code = program.instructions;
    this.structure();
  }

  /** (instruction, base) as one number; a base is -1 to 65,536. */
  private key(index: number, base: number): number {
    return index * (1 << 18) + base + 1;
  }

  reaches(index: number, base: number): boolean {
    return base >= 0 && base <= this.program.descriptors.length && this.visited.has(this.key(index, base));
  }

  visits(): [number, number][] {
    const sorted = [...this.checked].sort((a, b) => a - b);
    return sorted.map((key) => [Math.floor(key / (1 << 18)), (key % (1 << 18)) - 1]);
  }

  at(index: number): Instruction {
    return this.code[index] as Instruction;
  }

  private fail(i: Instruction, message: string): ProgramError {
    return new ProgramError(`${i.place}: ${message}`);
  }

  private structure(): void {
    const stack: number[] = [];
    let first = 0;
    for (const i of this.code) {
      this.inner.push(stack[stack.length - 1] ?? -1);
      const { flow } = i.op;
      if (flow === "LOOP") stack.push(i.index);
      else if (flow === "END_LOOP") {
        const loop = stack[stack.length - 1];
        if (loop === undefined || loop < first) {
          throw this.fail(i, "expected a Loop before it in the same block; found none");
        }
        stack.pop();
        this.match.set(loop, i.index);
      } else if (flow === (first ? "RETURN" : "HALT")) {
        const open = stack[stack.length - 1];
        if (open !== undefined) throw this.fail(this.at(open), "expected its EndLoop; found the block's end");
        this.ends.set(first, i.index);
        first = i.index + 1;
      } else if (flow === "HALT" || flow === "RETURN") {
        throw this.fail(i, "the main block ends with its one Halt, a subroutine with its one Return");
      }
    }
    if (first !== this.code.length) {
      throw this.fail(this.at(this.code.length - 1), "expected Halt (or Return) at the end of the block");
    }
  }

  main(): number {
    return this.block(0, this.ends.get(0) ?? 0, this.start(), 0, 0)[0];
  }

  /** The base at the start: the one kept by the outermost loop or call, or the register. */
  private start(): number {
    const s = readState(this.picture, this.program.stateStart);
    const word = (at: number) => s[at] ?? 0;
    if (word(STATE.LOOPS) && word(STATE.LOOP_STACK) <= (this.ends.get(0) ?? 0)) return word(STATE.LOOP_STACK + 3);
    return word(STATE.CALLS) ? word(STATE.CALL_STACK + 1) : word(STATE.BASE);
  }

  private block(first: number, last: number, base: number, loops: number, calls: number): Cost {
    if (base < 0 || base > this.program.descriptors.length) {
      throw this.fail(this.at(first), `the base becomes ${base}, beyond all descriptors`);
    }
    const key = this.key(first, base);
    let cost = this.costs.get(key);
    if (!cost) {
      cost = this.visitBlock(first, last, base, loops, calls);
      this.costs.set(key, cost);
    }
    if (loops + cost[1] > LIMITS.depth || calls + cost[2] > LIMITS.depth) {
      throw this.fail(this.at(first), `loops and calls nest at most ${LIMITS.depth} deep`);
    }
    return cost;
  }

  private visitBlock(first: number, last: number, base: number, loops: number, calls: number): Cost {
    let [steps, inside, far] = [0, 0, 0];
    for (let index = first; index <= last; index++) {
      const i = this.at(index);
      this.visit(i, base);
      steps += 1;
      if (i.op.flow === "LOOP") {
        const end = this.match.get(index) ?? index;
        const more = this.loop(i, end, base, loops + 1, calls);
        [steps, inside, far] = [steps + more[0], Math.max(inside, more[1] + 1), Math.max(far, more[2])];
        index = end;
      } else if (i.op.flow === "CALL") {
        const more = this.call(i, base, loops, calls + 1);
        [steps, inside, far] = [steps + more[0], Math.max(inside, more[1]), Math.max(far, more[2] + 1)];
      } else if (i.op.flow === "SKIP") this.skip(i, last);
    }
    return [steps, inside, far];
  }

  private count(i: Instruction): void {
    this.work += 1;
    if (this.work > LIMITS.work) throw this.fail(i, `the program has over ${LIMITS.work} paths`);
  }

  private visit(i: Instruction, base: number): void {
    this.count(i);
    this.visited.add(this.key(i.index, base));
    const relative = i.op.operands.some(
      (mode, n) => (mode.names === "TENSOR" || mode.names === "BLOCK") && (i.operands[n] ?? 0) >= FORMAT.relative,
    );
    const key = this.key(i.index, relative ? base : -1);
    if (this.checked.has(key)) return;
    this.checked.add(key);
    try {
      this.check(i, base);
    } catch (error) {
      throw this.fail(i, (error as Error).message);
    }
  }

  private descriptor(index: number): Descriptor {
    const found = this.program.descriptors[index];
    if (!found) {
      const last = this.program.descriptors.length - 1;
      throw new ProgramError(`expected descriptor 0..${last}; found ${index}`);
    }
    return found;
  }

  private check(i: Instruction, base: number): void {
    const tensors: Descriptor[] = [];
    const touched: Descriptor[] = [];
    const written: Descriptor[] = [];
    let parameters: Named = {};
    i.op.operands.forEach((mode, position) => {
      const operand = i.operands[position] ?? 0;
      if (mode.name === "NONE" && operand) {
        throw new ProgramError(`operand ${position + 1} is unused and must be 0; found ${operand}`);
      }
      if (mode.names !== "TENSOR" && mode.names !== "BLOCK") return;
      const d = this.descriptor(named(operand, base));
      if (mode.names === "BLOCK") {
        parameters = this.parameters(i, d, touched, written);
        return;
      }
      checkType(d, i.op.types[position] ?? []);
      tensors.push(d);
      touched.push(d);
      if (mode.writes) written.push(d);
    });
    const times = (list: Descriptor[], d: Descriptor) => list.filter((other) => other === d).length;
    for (const d of written) {
      need(d.role !== ROLE.CONSTANT, "a result that is not constant", d);
      const once = times(touched, d) === 1 || (i.op.inPlace && times(written, d) === 1);
      need(once, "a result that is none of the other operands", d);
      for (const other of touched) need(other.length !== d.index, "a result that is not another operand's length", d);
    }
    RULES[i.op.name]?.(tensors, parameters);
    if (i.op.addsBias) {
      const weight = (parameters.weight ?? tensors[tensors.length - 1]) as Descriptor;
      const out = tensors[0] as Descriptor;
      if (weight.bias !== null) {
        const bias = this.descriptor(weight.bias);
        need(bias.frac === out.frac, "a bias with the result's fraction bits", bias, out);
      }
    }
  }

  private parameters(i: Instruction, d: Descriptor, touched: Descriptor[], written: Descriptor[]): Named {
    if (d.isTensor) throw new ProgramError(`expected a parameter block; found ${d.dtypeName} (${d.called})`);
    const found: Named = {};
    i.op.parameters.forEach((parameter, number) => {
      const word = d.parameters[number] ?? 0;
      found[parameter.name] = word;
      if (parameter.mode.names !== "TENSOR") return;
      const link = this.descriptor(word);
      found[parameter.name] = link;
      checkType(link, parameter.types);
      touched.push(link);
      if (parameter.mode.writes) written.push(link);
    });
    return found;
  }

  private loop(loop: Instruction, end: number, base: number, loops: number, calls: number): Cost {
    const { depth } = LIMITS;
    if (loops > depth) throw this.fail(loop, `loops nest at most ${depth} deep`);
    const count = this.descriptor(named(loop.operands[0], base));
    if (count.flat !== 1 || count.length !== null) {
      const found = `${count.called} ${shapeText(count.extents)}`;
      throw this.fail(loop, `expected a count of one element, no length; found ${found}`);
    }
    const stride = loop.operands[2];
    if (count.role !== ROLE.CONSTANT && stride) {
      throw this.fail(loop, "expected a constant count where the base moves");
    }
    const times = this.rounds(count);
    if (!stride) {
      const [steps, inside, far] = this.block(loop.index + 1, end, base, loops, calls);
      return [times * steps, inside, far];
    }
    let [steps, inside, far] = [0, 0, 0];
    for (let n = 0; n < times; n++) {
      this.count(loop);
      const one = this.block(loop.index + 1, end, base + n * stride, loops, calls);
      [steps, inside, far] = [steps + one[0], Math.max(inside, one[1]), Math.max(far, one[2])];
    }
    return [steps, inside, far];
  }

  /** How often a loop runs: a constant count as it is, else as often as can be. */
  rounds(count: Descriptor): number {
    if (count.role !== ROLE.CONSTANT) return LIMITS.count;
    return Math.min(Math.max((this.picture.words[count.start] ?? 0) | 0, 0), LIMITS.count);
  }

  private call(call: Instruction, base: number, loops: number, calls: number): Cost {
    const target = call.operands[0] | (call.operands[1] << 8);
    const end = this.ends.get(target);
    if (calls > LIMITS.depth || end === undefined || !target) {
      const found = `instruction ${target} at call depth ${calls}`;
      throw this.fail(
        call,
        `expected the start of a subroutine, at most ${LIMITS.depth} deep; found ${found}`,
      );
    }
    return this.block(target, end, base + call.operands[2], loops, calls);
  }

  private skip(skip: Instruction, last: number): void {
    const target = skip.index + 1 + skip.operands[2];
    if (target > last || this.inner[target] !== this.inner[skip.index]) {
      throw this.fail(skip, "expected to skip whole loops inside its own block");
    }
  }
}

function checkType(d: Descriptor, types: readonly string[]): void {
  if (!types.includes(d.dtypeName)) {
    throw new ProgramError(`expected ${types.join(" or ")}; found ${d.dtypeName} (${d.called})`);
  }
}

/** The registers must be a place that the program can reach. */
function checkState(picture: Picture, program: Parsed, walk: Walk): void {
  if (!isPlace(readState(picture, program.stateStart), walk)) {
    throw new ProgramError(
      "the state's registers are not a place that this program reaches; reset the state to zero",
    );
  }
}

function isPlace(s: Int32Array, walk: Walk): boolean {
  const word = (at: number) => s[at] ?? 0;
  const [loops, calls, pc, status] = [word(STATE.LOOPS), word(STATE.CALLS), word(STATE.PC), word(STATE.STATUS)];
  if (loops < 0 || loops > LIMITS.depth || calls < 0 || calls > LIMITS.depth) return false;
  if (status < 0 || status > STATUS.halted) return false;
  let base = word(STATE.BASE);
  if (pc < 0 || pc >= walk.code.length || !walk.reaches(pc, base)) return false;
  // From the innermost frame outwards: which loops enclose the place, and with what base.
  let [place, left] = [pc, loops];
  for (let frame = calls; ; frame--) {
    const block = Math.max(...[...walk.ends.keys()].filter((first) => first <= place));
    const around = [...walk.match].filter(([loop, end]) => loop < place && place <= end && loop >= block);
    for (const [loop] of around.sort((a, b) => b[0] - a[0])) {
      left -= 1;
      if (left < 0) return false;
      const at = STATE.LOOP_STACK + 4 * left;
      const before = loopBase(walk, s.subarray(at, at + 4), loop, base);
      if (before === null) return false;
      base = before;
    }
    if (frame === 0) return left === 0 && block === 0;
    const at = STATE.CALL_STACK + 2 * (frame - 1);
    const before = word(at + 1);
    place = word(at);
    if (place <= 0 || place >= walk.code.length || !walk.reaches(place, before)) return false;
    const call = walk.at(place - 1);
    if (call.op.flow !== "CALL" || (call.operands[0] | (call.operands[1] << 8)) !== block) return false;
    if (base !== before + call.operands[2]) return false;
    base = before;
  }
}

/** One entry of the stack against the loop it must be: the base before it, or null. */
function loopBase(walk: Walk, entry: Int32Array, loop: number, base: number): number | null {
  const [first = 0, remaining = 0, stride = 0, before = 0] = entry;
  const operands = walk.at(loop).operands;
  if (first !== loop + 1 || stride !== operands[2] || remaining < 1 || remaining > LIMITS.count) return null;
  if (!walk.reaches(loop, before)) return null;
  const times = walk.rounds(walk.program.descriptors[named(operands[0], before)] as Descriptor);
  if (!stride) return base === before && remaining <= times ? before : null;
  const done = (base - before) / stride;
  return Number.isInteger(done) && done >= 0 && done + remaining === times ? before : null;
}
