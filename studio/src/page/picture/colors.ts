/** The colours of `pxvm view`: one for each tensor, and two scales for heat. */

export type Color = readonly [number, number, number];

const FIRST: readonly Color[] = [
  [96, 178, 255],
  [255, 159, 90],
  [104, 219, 160],
  [222, 132, 240],
  [255, 120, 140],
  [84, 214, 222],
  [196, 222, 96],
  [150, 150, 255],
];

const SEQUENTIAL: readonly Color[] = [
  [18, 14, 44],
  [66, 24, 104],
  [128, 37, 116],
  [192, 58, 98],
  [236, 104, 76],
  [251, 172, 92],
  [252, 243, 180],
];

const DIVERGING: readonly Color[] = [
  [120, 215, 255],
  [44, 134, 214],
  [30, 66, 120],
  [30, 33, 44],
  [126, 52, 26],
  [226, 110, 38],
  [255, 214, 130],
];

/** The colour of the n-th tensor: the first are chosen by hand, further ones walk the colour circle. */
export function tensorColor(index: number): string {
  const color = FIRST[index];
  if (color) return css(color);
  const lightness = [62, 72, 55][index % 3];
  return `hsl(${Math.round((index * 0.61803398875 * 360) % 360)} 75% ${lightness}%)`;
}

export function css(color: Color): string {
  return `rgb(${color[0]} ${color[1]} ${color[2]})`;
}

/** 256 steps of a scale as opaque words, R lowest. */
function steps(points: readonly Color[]): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, step) => {
    const [red, green, blue] = between(points, step / 255);
    return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
  });
}

function between(points: readonly Color[], share: number): Color {
  const place = share * (points.length - 1);
  const index = Math.min(points.length - 2, Math.floor(place));
  const rest = place - index;
  const [low, high] = [points[index], points[index + 1]];
  const part = (i: number) => Math.round(low[i] + (high[i] - low[i]) * rest);
  return [part(0), part(1), part(2)];
}

export const scales = { sequential: steps(SEQUENTIAL), diverging: steps(DIVERGING) };
