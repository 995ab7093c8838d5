/** The closed set of errors: their texts are the command line's. */

import { PxvmError } from "../api.ts";

/** A file is not a valid picture, or over a limit. */
export class FormatError extends PxvmError {}

/** A program is malformed and was refused before it ran. */
export class ProgramError extends PxvmError {}

/** An instruction cannot be executed. */
export class ExecutionError extends PxvmError {}
