import type { Rect } from "../../api.ts";

/** Dots of one word at most: large enough to write its value into it. */
const NEAREST = 160;

/** Which part of a picture is seen: dots a word, and the word at the upper left corner. Smooth unless told otherwise. */
export class Camera {
  scale = 1;
  x = 0;
  y = 0;
  private goal: { scale: number; x: number; y: number } | null = null;

  constructor(
    readonly width: number,
    readonly height: number,
    private viewWidth = 1,
    private viewHeight = 1,
  ) {}

  get moving(): boolean {
    return this.goal !== null;
  }

  resize(width: number, height: number): void {
    this.viewWidth = Math.max(1, width);
    this.viewHeight = Math.max(1, height);
  }

  /** The scale at which the whole picture is seen. */
  get whole(): number {
    return Math.min((this.viewWidth * 0.94) / this.width, (this.viewHeight * 0.9) / this.height, 64);
  }

  fit(smooth: boolean): void {
    this.show({ x: 0, y: 0, width: this.width, height: this.height }, smooth, 64);
  }

  /** Bring a rectangle into the middle, as large as it goes. */
  show(rect: Rect, smooth: boolean, largest = 48): void {
    const wide = (this.viewWidth * 0.94) / rect.width;
    const high = (this.viewHeight * 0.9) / rect.height;
    const scale = Math.min(wide, high, largest);
    this.go(
      {
        scale,
        x: rect.x + rect.width / 2 - this.viewWidth / 2 / scale,
        y: rect.y + rect.height / 2 - this.viewHeight / 2 / scale,
      },
      smooth,
    );
  }

  pan(dx: number, dy: number): void {
    this.goal = null;
    this.x += dx / this.scale;
    this.y += dy / this.scale;
    this.hold();
  }

  /** Zoom so that the word under this dot stays under it. */
  zoom(factor: number, px: number, py: number, smooth: boolean): void {
    const from = this.goal ?? this;
    const scale = Math.min(NEAREST, Math.max(Math.min(1, this.whole) / 2, from.scale * factor));
    const wordX = from.x + px / from.scale;
    const wordY = from.y + py / from.scale;
    this.go({ scale, x: wordX - px / scale, y: wordY - py / scale }, smooth);
  }

  /** Make sure that a word is seen. */
  reveal(x: number, y: number): void {
    const width = this.viewWidth / this.scale;
    const height = this.viewHeight / this.scale;
    const margin = Math.min(3, width / 4, height / 4);
    this.x = Math.min(Math.max(this.x, x + 1 + margin - width), x - margin);
    this.y = Math.min(Math.max(this.y, y + 1 + margin - height), y - margin);
  }

  /** Move on by one frame. */
  tick(milliseconds: number): void {
    if (!this.goal) return;
    const share = 1 - Math.exp(-milliseconds / 70);
    const { goal } = this;
    if (Math.abs(Math.log(goal.scale / this.scale)) < 0.004) {
      const off = Math.hypot(goal.x - this.x, goal.y - this.y) * this.scale;
      if (off < 0.75) {
        Object.assign(this, { scale: goal.scale, x: goal.x, y: goal.y });
        this.goal = null;
        return;
      }
    }
    // The scale moves evenly for the eye, and the dot that both views share stays where it is.
    const scale = this.scale * (goal.scale / this.scale) ** share;
    const near = Math.abs(goal.scale - this.scale) > 1e-9 * scale;
    const part = near ? (1 / scale - 1 / this.scale) / (1 / goal.scale - 1 / this.scale) : share;
    this.x += (goal.x - this.x) * part;
    this.y += (goal.y - this.y) * part;
    this.scale = scale;
  }

  private go(goal: { scale: number; x: number; y: number }, smooth: boolean): void {
    this.goal = smooth ? goal : null;
    if (!smooth) Object.assign(this, goal);
  }

  private hold(): void {
    const spare = 0.5;
    const width = this.viewWidth / this.scale;
    const height = this.viewHeight / this.scale;
    this.x = Math.min(this.width - width * (1 - spare), Math.max(-width * spare, this.x));
    this.y = Math.min(this.height - height * (1 - spare), Math.max(-height * spare, this.y));
  }
}
