// Control: the registers of a verified program, and what each instruction does.

import * as is from "./constants";
import { append, causal, full, windowed } from "./attention";
import {
  dot, embed, l2Norm, lookup, meanPool, most, norm, pairs, pool, quantise, relu, rotate, select, softmax, sum,
} from "./elements";
import { blit, concat, copy, fill, push, sample, slice, tail, topK, transpose } from "./moving";
import { conv2d, linear } from "./products";
import {
  bindPicture, clamped, clearMarks, freeRoom, parameter, saturated, Tensor, tensor,
} from "./tensor";

// @ts-ignore: decorator
@external("host", "now")
declare function now(): f64;

// @ts-ignore: decorator
@external("host", "saving")
declare function saving(descriptor: i32): void;

/** What an operand or a parameter names, as the page says it for each opcode: a byte each. */
const READS: u8 = 1;
const WRITES: u8 = 2;
const BLOCK: u8 = 3;
const MODES: usize = 16;

/** Why a run ended. */
export const enum Ended {
  /** Halt, Yield, or as many steps as wanted. */
  STOPPED = 0,
  /** The time was up. */
  TIME = 1,
  BREAKPOINT = 2,
}

let code: usize = 0;
let count: i32 = 0;
let match: usize = 0;
let modes: usize = 0;
let state: usize = 0;
let made: i32 = 0;
let breaks: usize = 0;
let touched: usize = 0;
let kept: usize = 0;

/** Where everything stands; `state` are the registers in the picture, behind `scratch` all memory is free. */
export function bind(
  picture: usize, width: i32, table: usize, tensors: i32, codeAt: usize, length: i32, matchAt: usize, modesAt: usize,
  stateAt: usize, scratch: usize,
): void {
  breaks = scratch;
  touched = breaks + <usize>length;
  kept = touched + <usize>tensors;
  bindPicture(picture, width, table, (kept + <usize>tensors + 63) & ~63);
  memory.fill(breaks, 0, <usize>length + 2 * <usize>tensors);
  code = codeAt;
  count = tensors;
  match = matchAt;
  modes = modesAt;
  state = stateAt;
}

/** A byte for each instruction: 1 where a run stops before it. */
export function breakpoints(): usize {
  return breaks;
}

/** A byte for each descriptor: 1 where it was written since that was set to 0. */
export function written(): usize {
  return touched;
}

/** A byte for each descriptor: 1 where `saving` was told of it since that was set to 0. */
export function saved(): usize {
  return kept;
}

/** Steps that the last run made. */
export function steps(): i32 {
  return made;
}

// @ts-ignore: decorator
@inline
function get(word: i32): i32 {
  return load<i32>(state + (<usize>word << 2));
}

// @ts-ignore: decorator
@inline
function set(word: i32, value: i32): void {
  store<i32>(state + (<usize>word << 2), value);
}

// @ts-ignore: decorator
@inline
function named(operand: i32): i32 {
  return operand < is.RELATIVE ? operand : get(is.STATE_BASE) + operand - is.RELATIVE;
}

/**
 * Go on until Halt, Yield, so many steps (below 0: any), a breakpoint or a time in milliseconds; one step
 * at least, unless `checked` and a breakpoint stands before it.
 */
export function run(limit: i32, until: f64, checked: bool): Ended {
  clearMarks();
  made = 0;
  if (get(is.STATE_STATUS) == is.YIELDED) set(is.STATE_STATUS, is.READY);
  let ended = Ended.STOPPED;
  while (get(is.STATE_STATUS) == is.READY && made != limit) {
    const pc = get(is.STATE_PC);
    if ((made || checked) && load<u8>(breaks + pc)) {
      ended = Ended.BREAKPOINT;
      break;
    }
    if (made && now() > until) {
      ended = Ended.TIME;
      break;
    }
    step(pc);
    made++;
  }
  if (saturated) set(is.STATE_SATURATED, 1);
  if (clamped) set(is.STATE_CLAMPED, 1);
  return ended;
}

function mark(index: i32): void {
  store<u8>(touched + index, 1);
  if (load<u8>(kept + index)) return;
  store<u8>(kept + index, 1);
  saving(index);
}

function step(pc: i32): void {
  const word = load<u32>(code + (<usize>pc << 2));
  const op = <i32>(word & 255);
  const g = <i32>(word >> 8) & 255;
  const b = <i32>(word >> 16) & 255;
  const a = <i32>(word >> 24);
  set(is.STATE_STEPS, (get(is.STATE_STEPS) + 1) & 0x7fffffff);
  set(is.STATE_PC, pc + 1);
  if (op == is.OP_HALT) {
    set(is.STATE_PC, pc);
    set(is.STATE_STATUS, is.HALTED);
    clearScratch();
  } else if (op == is.OP_YIELD) {
    set(is.STATE_STATUS, is.YIELDED);
    clearScratch();
  } else if (op == is.OP_LOOP) enterLoop(pc, g, a);
  else if (op == is.OP_ENDLOOP) endLoop();
  else if (op == is.OP_CALL) call(g | (b << 8), a);
  else if (op == is.OP_RETURN) leave();
  else if (op == is.OP_SKIPIFZERO) {
    if (tensor(named(g)).scalar == 0) set(is.STATE_PC, pc + 1 + a);
  } else compute(op, g, b, a);
}

function enterLoop(pc: i32, g: i32, stride: i32): void {
  const times = min(max(tensor(named(g)).scalar, 0), is.MAX_COUNT);
  if (!times) {
    set(is.STATE_PC, load<i32>(match + (<usize>pc << 2)) + 1);
    return;
  }
  const loops = get(is.STATE_LOOPS);
  const at = is.STATE_LOOP_STACK + 4 * loops;
  set(at, pc + 1);
  set(at + 1, times);
  set(at + 2, stride);
  set(at + 3, get(is.STATE_BASE));
  set(is.STATE_LOOPS, loops + 1);
}

function endLoop(): void {
  const loops = get(is.STATE_LOOPS) - 1;
  const at = is.STATE_LOOP_STACK + 4 * loops;
  const left = get(at + 1) - 1;
  if (left) {
    set(at + 1, left);
    set(is.STATE_PC, get(at));
    set(is.STATE_BASE, get(is.STATE_BASE) + get(at + 2));
    return;
  }
  set(is.STATE_BASE, get(at + 3));
  for (let i = 0; i < 4; i++) set(at + i, 0);
  set(is.STATE_LOOPS, loops);
}

function call(target: i32, more: i32): void {
  const calls = get(is.STATE_CALLS);
  const at = is.STATE_CALL_STACK + 2 * calls;
  set(at, get(is.STATE_PC));
  set(at + 1, get(is.STATE_BASE));
  set(is.STATE_CALLS, calls + 1);
  set(is.STATE_PC, target);
  set(is.STATE_BASE, get(is.STATE_BASE) + more);
}

function leave(): void {
  const calls = get(is.STATE_CALLS) - 1;
  const at = is.STATE_CALL_STACK + 2 * calls;
  set(is.STATE_PC, get(at));
  set(is.STATE_BASE, get(at + 1));
  set(at, 0);
  set(at + 1, 0);
  set(is.STATE_CALLS, calls);
}

function clearScratch(): void {
  for (let index = 0; index < count; index++) {
    const d = tensor(index);
    if (d.role != is.ROLE_SCRATCH || d.dtype == is.DTYPE_PARAMS) continue;
    const used = d.used;
    if (used) mark(index);
    for (let r = 0; r < used; r++) memory.fill(d.row(r), 0, <usize>d.words << 2);
  }
}

/** Marks what is written; whether every operand has a row in use. */
function ready(op: i32, operands: u32): bool {
  const row = modes + <usize>op * MODES;
  for (let i = 0; i < 3; i++) {
    const mode = load<u8>(row + i);
    if ((mode == READS || mode == WRITES) && !tensor(named((operands >> (8 * i)) & 255)).used) return false;
  }
  for (let i = 0; i < 3; i++) {
    const mode = load<u8>(row + i);
    const index = named((operands >> (8 * i)) & 255);
    if (mode == WRITES) mark(index);
    if (mode != BLOCK) continue;
    const block = tensor(index);
    for (let n = 0; n < is.PARAMETERS; n++) {
      if (load<u8>(row + 3 + n) == WRITES) mark(parameter(block, n));
    }
  }
  return true;
}

// @ts-ignore: decorator
@inline
function linked(block: Tensor, n: i32): Tensor {
  return tensor(parameter(block, n));
}

function compute(op: i32, g: i32, b: i32, a: i32): void {
  freeRoom();
  if (!ready(op, g | (b << 8) | (a << 16))) return;
  const x = tensor(named(g));
  const y = tensor(named(b));
  const z = tensor(named(a));
  switch (op) {
    case is.OP_EMBED: return embed(x, y, z);
    case is.OP_LINEAR:
    case is.OP_MATMUL: return linear(x, y, z);
    case is.OP_CONV2D:
      return conv2d(
        x, y, linked(z, 0), parameter(z, 1), parameter(z, 2), parameter(z, 3), parameter(z, 4), parameter(z, 5),
      );
    case is.OP_ADD:
    case is.OP_MUL:
    case is.OP_LESS:
    case is.OP_EQUAL: return pairs(op, x, y, z);
    case is.OP_DOT: return dot(x, y, z);
    case is.OP_RELU: return relu(x, y);
    case is.OP_TABLE: return lookup(x, y, z, false);
    case is.OP_GATE: return lookup(x, y, z, true);
    case is.OP_SELECT: return select(x, y, z);
    case is.OP_RMSNORM: return norm(x, y, z, false);
    case is.OP_LAYERNORM: return norm(x, y, z, true);
    case is.OP_L2NORM: return l2Norm(x, y);
    case is.OP_SOFTMAX: return softmax(x, y);
    case is.OP_QUANTISE: return quantise(x, y);
    case is.OP_SUM: return sum(x, y, false);
    case is.OP_MEAN: return sum(x, y, true);
    case is.OP_MAX: return most(x, y, false);
    case is.OP_ARGMAX: return most(x, y, true);
    case is.OP_TOPK: return topK(x, y, z);
    case is.OP_ROPEPAIRS: return rotate(x, y, z, false);
    case is.OP_ROPEHALVES: return rotate(x, y, z, true);
    case is.OP_APPEND: return append(x, y, z);
    case is.OP_ATTENTIONCAUSAL: return causal(x, y, linked(z, 0), linked(z, 1), linked(z, 2), parameter(z, 3));
    case is.OP_ATTENTIONWINDOW:
      return windowed(x, y, linked(z, 0), linked(z, 1), linked(z, 2), parameter(z, 3), parameter(z, 4));
    case is.OP_ATTENTIONFULL:
      return full(x, y, linked(z, 0), linked(z, 1), linked(z, 2), linked(z, 3), parameter(z, 4));
    case is.OP_MEANPOOL: return meanPool(x, y, linked(z, 0), linked(z, 1));
    case is.OP_MAXPOOL:
      return pool(x, y, parameter(z, 0), parameter(z, 1), parameter(z, 2), parameter(z, 3), false);
    case is.OP_AVGPOOL:
      return pool(x, y, parameter(z, 0), parameter(z, 1), parameter(z, 2), parameter(z, 3), true);
    case is.OP_BLIT: return blit(x, y, z);
    case is.OP_COPY: return copy(x, y);
    case is.OP_TRANSPOSE:
      return transpose(x, y, parameter(z, 0), parameter(z, 1), parameter(z, 2), parameter(z, 3));
    case is.OP_SLICE: return slice(x, y, parameter(z, 0), parameter(z, 1));
    case is.OP_CONCAT: return concat(x, y, parameter(z, 0));
    case is.OP_TAIL: return tail(x, y);
    case is.OP_PUSH: return push(x, y, z);
    case is.OP_FILL: return fill(x, y);
    case is.OP_SAMPLE:
      return sample(
        x, y, linked(z, 0), linked(z, 1), linked(z, 2), linked(z, 3), linked(z, 4), linked(z, 5),
      );
    default: unreachable();
  }
}
