/** MP4 with whatever codec the browser has for it. */

import {
  BufferTarget,
  getFirstEncodableVideoCodec,
  Mp4OutputFormat,
  Output,
  QUALITY_VERY_HIGH,
  VideoSample,
  VideoSampleSource,
} from "mediabunny";
import { type Picture, PxvmError } from "../api.ts";
import { enlarged, opaque } from "./frames.ts";
import type { Writer } from "./index.ts";

export class Mp4 implements Writer {
  private done = 0;

  private constructor(
    private readonly output: Output<Mp4OutputFormat, BufferTarget>,
    private readonly source: VideoSampleSource,
    private readonly width: number,
    private readonly height: number,
    private readonly seconds: number,
    private readonly scale: number,
  ) {}

  static async start(width: number, height: number, each: number, scale: number): Promise<Mp4> {
    // Videos have an even number of pixels each way.
    const [across, down] = [width, height].map((size) => 2 * Math.ceil((size * scale) / 2));
    const size = { width: across!, height: down! };
    const format = new Mp4OutputFormat();
    const codec = await getFirstEncodableVideoCodec(format.getSupportedVideoCodecs(), size);
    if (!codec) {
      throw new PxvmError(
        `this browser encodes no video of ${across} x ${down}: choose APNG, or fewer pixels`,
      );
    }
    const output = new Output({ format, target: new BufferTarget() });
    const source = new VideoSampleSource({ codec, bitrate: QUALITY_VERY_HIGH });
    output.addVideoTrack(source, { frameRate: 1000 / each });
    await output.start();
    return new Mp4(output, source, size.width, size.height, each / 1000, scale);
  }

  async add({ words, width, height }: Picture): Promise<void> {
    const larger = enlarged(opaque(words), width, height, this.scale, this.width, this.height);
    const sample = new VideoSample(new Uint8Array(larger.buffer), {
      format: "RGBX",
      codedWidth: this.width,
      codedHeight: this.height,
      timestamp: this.done++ * this.seconds,
      duration: this.seconds,
    });
    try {
      await this.source.add(sample);
    } finally {
      sample.close();
    }
  }

  async finish(): Promise<Blob> {
    await this.output.finalize();
    return new Blob([this.output.target.buffer!], { type: "video/mp4" });
  }

  cancel(): void {
    void this.output.cancel();
  }
}
