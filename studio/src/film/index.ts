/** Pictures one after the other, such as those of an answer, as a file that other programs play. */

import { type Picture, type Progress, PxvmError } from "../api.ts";

export interface FilmOptions {
  /** APNG has every pixel as it is; MP4 is smaller, has what a video keeps, and needs WebCodecs. */
  format: "apng" | "mp4";
  /** Milliseconds that a picture stands; 100 where nothing is said. */
  each?: number;
  /** Screen pixels across and down of a pixel; as many as make a small picture 512 wide for MP4, else 1. */
  scale?: number;
  /** Alpha becomes opaque: what the words hold there is then no longer in the film. MP4 always is. */
  opaque?: boolean;
  signal?: AbortSignal;
  /** Told the number of pictures done so far; the whole is 0, since nobody knows it. */
  progress?: Progress;
}

export interface Writer {
  add(picture: Picture): Promise<void>;
  finish(): Promise<Blob>;
  /** Gives up what there is. */
  cancel(): void;
}

/** Whether this browser can write MP4. */
export function hasVideo(): boolean {
  return typeof VideoEncoder === "function";
}

/**
 * Writes a film. Throws PxvmError for no pictures, pictures of several sizes, and what the browser
 * cannot encode; the signal's reason where it is aborted.
 */
export async function film(frames: AsyncIterable<Picture>, options: FilmOptions): Promise<Blob> {
  const { format, signal, progress } = options;
  const each = options.each ?? 100;
  if (!(each > 0)) throw new PxvmError(`expected more than 0 milliseconds a picture; found ${each}`);
  let writer: Writer | undefined;
  let size: { width: number; height: number } | undefined;
  let done = 0;
  try {
    for await (const picture of frames) {
      signal?.throwIfAborted();
      const { width, height } = picture;
      size ??= { width, height };
      if (width !== size.width || height !== size.height) {
        throw new PxvmError(
          `expected pictures of ${size.width} x ${size.height}; found one of ${width} x ${height}`,
        );
      }
      writer ??= await writerOf(format, width, height, each, options);
      await writer.add(picture);
      progress?.(++done, 0, "film");
    }
    signal?.throwIfAborted();
    if (!writer) throw new PxvmError("expected at least one picture for a film; found none");
    return await writer.finish();
  } catch (error) {
    writer?.cancel();
    throw error;
  }
}

async function writerOf(
  format: "apng" | "mp4",
  width: number,
  height: number,
  each: number,
  { scale, opaque = false }: FilmOptions,
): Promise<Writer> {
  if (format === "apng") {
    const { Apng } = await import("./apng.ts");
    return new Apng(width, height, each, scale ?? 1, opaque);
  }
  if (!hasVideo()) throw new PxvmError("this browser writes no MP4: expected WebCodecs; choose APNG");
  const { Mp4 } = await import("./mp4.ts");
  return Mp4.start(width, height, each, scale ?? Math.max(1, Math.floor(512 / width)));
}
