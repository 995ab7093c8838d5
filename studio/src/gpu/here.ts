/** Programs on a GPU where there is no page around them: in a worker. */

import type { Picture } from "../api.ts";
import { info1 } from "../machine/info.ts";
import { encodePicture } from "../machine/runner.ts";
import { verify } from "../machine/verifier1.ts";
import { Gpu } from "./device.ts";
import { TensorSession } from "./session.ts";

/** A program of dialect 1 on the GPU. */
export async function startHere(picture: Picture, name: string): Promise<TensorSession> {
  const program = verify(picture);
  const info = info1(picture, program, name);
  return TensorSession.start(await Gpu.shared(), picture, info, program, encodePicture);
}
