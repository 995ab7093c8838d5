/**
 * Programs on a GPU, through the browser's WebGPU: the planned way of `pxvm/gpu` with its own shaders,
 * and the same bytes. What a device lacks, refuses or loses is an error of one sentence; whoever
 * started it then goes on in WebAssembly, with the picture as it was when a run last ended.
 */

import { type Opened, type Progress, PxvmError, type Session } from "../api.ts";
import { encode } from "../machine/index.ts";
import { verify } from "../machine/verifier1.ts";
import { Gpu } from "./device.ts";
import { RowSession } from "./row.ts";
import { TensorSession } from "./session.ts";

export { gpuAvailable } from "./device.ts";

/** A program on the GPU; its shaders are compiled when this resolves. */
export async function startGpu(opened: Opened, progress?: Progress): Promise<Session> {
  const { program } = opened;
  if (!program) {
    throw new PxvmError(opened.refused ?? `${opened.name}: expected a program; found a ${opened.kind}`);
  }
  const gpu = await Gpu.shared();
  if (program.dialect === 0) return RowSession.start(gpu, opened, program, encode);
  const { picture } = opened;
  return TensorSession.start(gpu, picture, program, verify(picture), encode, progress);
}
