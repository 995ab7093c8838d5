import type { InstructionInfo, Picture, ProgramInfo, Rect } from "../../api.ts";
import type { Camera } from "./camera.ts";
import { tensorColor } from "./colors.ts";
import { channels, elements, inside } from "./values.ts";

/** What is drawn over the pixels. */
export interface Marks {
  outlines: boolean;
  /** Tensor that is chosen: outlined strongly. */
  chosen?: number;
  /** Word that the keyboard or the pointer is at. */
  cursor?: { x: number; y: number };
  /** Instruction that comes next. */
  counter?: number;
  breakpoints?: ReadonlySet<number>;
  /** Pixels that have just changed. */
  glow: Rect[];
  /** Rectangles of attention, such as the first difference or evidence. */
  frames: Rect[];
}

const GLOW = "255 214 64";
/** Dots a word from which letters and numbers fit into it. */
const LETTERS = 13;
const NUMBERS = 20;
/** The same where several numbers stand in a word. */
const SEVERAL = 44;
const GRID = 12;

export function overlay(
  context: CanvasRenderingContext2D, camera: Camera, picture: Picture, program: ProgramInfo | undefined,
  marks: Marks, glow: number,
): void {
  const view = seen(context, camera);
  border(context, camera, picture);
  if (camera.scale >= GRID) grid(context, camera, picture, view);
  if (program && marks.outlines) outlines(context, camera, program, view, marks.chosen);
  if (program && camera.scale >= LETTERS) letters(context, camera, program, view);
  if (camera.scale >= NUMBERS * devicePixelRatio) numbers(context, camera, picture, program, view);
  if (program) points(context, camera, program, marks);
  for (const rect of marks.glow) {
    context.fillStyle = `rgb(${GLOW} / ${0.38 * glow})`;
    context.strokeStyle = `rgb(${GLOW} / ${Math.min(1, glow + 0.2)})`;
    framed(context, camera, rect, 1.5, true);
  }
  for (const rect of marks.frames) {
    context.strokeStyle = "#ff4d6d";
    framed(context, camera, rect, 3, false);
  }
  if (marks.cursor) {
    context.strokeStyle = "#fff";
    framed(context, camera, { ...marks.cursor, width: 1, height: 1 }, 2, false);
    context.strokeStyle = "#000";
    framed(context, camera, { ...marks.cursor, width: 1, height: 1 }, 1, false);
  }
}

function seen(context: CanvasRenderingContext2D, camera: Camera): Rect {
  const x = Math.floor(camera.x);
  const y = Math.floor(camera.y);
  const width = Math.ceil(context.canvas.width / camera.scale) + 1;
  const height = Math.ceil(context.canvas.height / camera.scale) + 1;
  return { x, y, width, height };
}

function box(camera: Camera, rect: Rect): [number, number, number, number] {
  const left = Math.round((rect.x - camera.x) * camera.scale);
  const upper = Math.round((rect.y - camera.y) * camera.scale);
  const right = Math.round((rect.x + rect.width - camera.x) * camera.scale);
  const lower = Math.round((rect.y + rect.height - camera.y) * camera.scale);
  return [left, upper, Math.max(1, right - left), Math.max(1, lower - upper)];
}

function framed(context: CanvasRenderingContext2D, camera: Camera, rect: Rect, line: number, filled: boolean): void {
  const [x, y, width, height] = box(camera, rect);
  context.lineWidth = line * devicePixelRatio;
  if (filled) context.fillRect(x, y, width, height);
  context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
}

function border(context: CanvasRenderingContext2D, camera: Camera, picture: Picture): void {
  context.strokeStyle = "rgb(128 136 150 / 0.7)";
  framed(context, camera, { x: 0, y: 0, width: picture.width, height: picture.height }, 1, false);
}

function grid(context: CanvasRenderingContext2D, camera: Camera, picture: Picture, view: Rect): void {
  const strength = Math.min(0.35, (camera.scale - GRID) / 60);
  context.strokeStyle = `rgb(128 136 150 / ${strength})`;
  context.lineWidth = 1;
  context.beginPath();
  const [left, upper, width, height] = box(camera, { x: 0, y: 0, width: picture.width, height: picture.height });
  for (let x = Math.max(1, view.x); x < Math.min(picture.width, view.x + view.width + 1); x++) {
    const at = Math.round((x - camera.x) * camera.scale) + 0.5;
    context.moveTo(at, Math.max(0, upper));
    context.lineTo(at, upper + height);
  }
  for (let y = Math.max(1, view.y); y < Math.min(picture.height, view.y + view.height + 1); y++) {
    const at = Math.round((y - camera.y) * camera.scale) + 0.5;
    context.moveTo(Math.max(0, left), at);
    context.lineTo(left + width, at);
  }
  context.stroke();
}

function outlines(
  context: CanvasRenderingContext2D, camera: Camera, program: ProgramInfo, view: Rect, chosen?: number,
): void {
  const size = 12 * devicePixelRatio;
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  program.tensors.forEach((tensor, number) => {
    tensor.rects.forEach((rect, part) => {
      if (!meet(rect, view)) return;
      const [x, y, width, height] = box(camera, rect);
      const strong = tensor.index === chosen;
      // What is too small for an outline would be all outline.
      const visible = Math.min(1, (Math.min(width, height) / devicePixelRatio - 4) / 10);
      if (visible <= 0 && !strong) return;
      context.globalAlpha = strong ? 1 : visible;
      context.strokeStyle = tensorColor(number);
      framed(context, camera, rect, strong ? 3 : 1.25, false);
      context.globalAlpha = 1;
      if (part > 0 || (!strong && (width < 46 * devicePixelRatio || height < size))) return;
      const above = { ...rect, y: rect.y - 1, width: 2, height: 1 };
      const hides = camera.scale >= LETTERS && program.instructions.some((each) => inside(above, each.x, each.y));
      const [left, upper] = hides ? [x + width, y + height] : [x, y];
      label(context, tensor.name || `#${tensor.index}`, left, upper, width, size, tensorColor(number));
    });
  });
}

function label(
  context: CanvasRenderingContext2D, name: string, x: number, y: number, width: number, size: number, color: string,
): void {
  const pad = 4 * devicePixelRatio;
  const room = Math.max(width, 90 * devicePixelRatio);
  const left = Math.max(0, x);
  const lower = y - size - pad < 0 ? Math.max(0, y) + size + pad : y;
  const long = Math.min(room, context.measureText(name).width + 2 * pad);
  context.save();
  context.beginPath();
  context.rect(left, lower - size - pad, long, size + pad);
  context.clip();
  context.fillStyle = "rgb(15 18 24 / 0.86)";
  context.fillRect(left, lower - size - pad, long, size + pad);
  context.fillStyle = color;
  context.fillText(name, left + pad, lower - pad / 2 + 1);
  context.restore();
}

export function meet(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

/** Instructions as the letters that they are. */
function letters(context: CanvasRenderingContext2D, camera: Camera, program: ProgramInfo, view: Rect): void {
  const size = Math.round(Math.min(camera.scale * 0.62, 40 * devicePixelRatio));
  context.font = `700 ${size}px ui-monospace, monospace`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const each of program.instructions) {
    if (!inside(view, each.x, each.y)) continue;
    const [x, y, width, height] = box(camera, { x: each.x, y: each.y, width: 1, height: 1 });
    context.fillStyle = "rgb(15 18 24 / 0.8)";
    context.fillRect(x + 1, y + 1, width - 2, height - 2);
    context.fillStyle = "#f2f4f8";
    context.fillText(each.letter, x + width / 2, y + height / 2 + 1);
  }
  context.textAlign = "start";
}

/** What the words hold, where there is room to write it. */
function numbers(
  context: CanvasRenderingContext2D, camera: Camera, picture: Picture, program: ProgramInfo | undefined, view: Rect,
): void {
  const size = Math.min(13 * devicePixelRatio, camera.scale / 2.6);
  context.font = `${size}px ui-monospace, monospace`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  // Dark around light is read on any colour.
  context.fillStyle = "#fff";
  context.strokeStyle = "rgb(8 10 14 / 0.85)";
  context.lineWidth = size / 4;
  context.lineJoin = "round";
  const right = Math.min(picture.width, view.x + view.width);
  const lower = Math.min(picture.height, view.y + view.height);
  const shown = new Set(program?.instructions.map(key));
  const tensors = program?.tensors.filter((tensor) => tensor.rects.some((rect) => meet(rect, view))) ?? [];
  for (let y = Math.max(0, view.y); y < lower; y++) {
    for (let x = Math.max(0, view.x); x < right; x++) {
      if (shown.has(`${x} ${y}`)) continue;
      const word = picture.words[y * picture.width + x];
      const tensor = tensors.find((each) => each.rects.some((rect) => inside(rect, x, y)));
      if (!tensor && word === 0) continue;
      const values = tensor ? elements(tensor.dtype, word) : channels(word);
      if (values.length > 1 && camera.scale < SEVERAL * devicePixelRatio) continue;
      const [left, upper, width, height] = box(camera, { x, y, width: 1, height: 1 });
      lines(context, values, left + width / 2, upper + height / 2, size);
    }
  }
  context.textAlign = "start";
}

function key(instruction: InstructionInfo): string {
  return `${instruction.x} ${instruction.y}`;
}

function lines(context: CanvasRenderingContext2D, values: number[], x: number, y: number, size: number): void {
  const texts = values.map((value) => (Number.isInteger(value) ? String(value) : value.toPrecision(3)));
  if (texts.length === 1) {
    context.font = `${size}px ui-monospace, monospace`;
    written(context, texts[0], x, y);
  } else {
    context.font = `${size * 0.8}px ui-monospace, monospace`;
    const half = Math.ceil(texts.length / 2);
    written(context, texts.slice(0, half).join(" "), x, y - size * 0.62);
    written(context, texts.slice(half).join(" "), x, y + size * 0.62);
  }
}

function written(context: CanvasRenderingContext2D, text: string, x: number, y: number): void {
  context.strokeText(text, x, y);
  context.fillText(text, x, y);
}

/** Where the program stands, and where it is to stop. */
function points(context: CanvasRenderingContext2D, camera: Camera, program: ProgramInfo, marks: Marks): void {
  for (const index of marks.breakpoints ?? []) {
    const at = program.instructions[index];
    if (!at) continue;
    context.strokeStyle = "#ff4d6d";
    framed(context, camera, { x: at.x, y: at.y, width: 1, height: 1 }, 2, false);
  }
  const next = marks.counter === undefined ? undefined : program.instructions[marks.counter];
  if (!next) return;
  context.strokeStyle = `rgb(${GLOW})`;
  framed(context, camera, { x: next.x, y: next.y, width: 1, height: 1 }, 3, false);
}
