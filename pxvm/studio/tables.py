"""What the studio's page knows of the machine: written from Python's own tables, never by hand.

``tables.json`` is for the page, ``constants.ts`` for the part of the interpreter that becomes
WebAssembly, where nothing can be read at run time; ``pxvm.studio.generated`` writes both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pxvm.core import dialect1, isa, mappable, matrix, ops, png, rules, tensor
from pxvm.core import verifier1 as verifier
from pxvm.core.container import IDAT_BYTES
from pxvm.core.integer import EXP2
from pxvm.core.isa import Opcode
from pxvm.core.operand import LARGEST
from pxvm.core.parts import MAGIC
from pxvm.core.scanlines import BAND_BYTES
from pxvm.core.tensor import DType, Role, State

SOURCE = Path(__file__).parents[2] / "studio" / "src"
JSON = SOURCE / "generated" / "tables.json"
CONSTANTS = SOURCE / "machine" / "assembly" / "constants.ts"


def tables() -> dict[str, Any]:
    """Everything that the page must not say by itself."""
    return {
        "opcodes": [_opcode(op) for op in isa.OPCODES],
        "modes": {
            mode.name: {
                "names": mode.names.name,
                "reads": mode.reads,
                "writes": mode.writes,
                "words": mode.value,
            }
            for mode in isa.Mode
        },
        "dtypes": {dtype.name: int(dtype) for dtype in DType},
        "roles": {role.name: int(role) for role in Role},
        "state": {word.name: int(word) for word in State},
        "multiples": tensor.MULTIPLES,
        "largest": {dtype.name: LARGEST.get(dtype, 128) for dtype in DType},
        "format": {
            "magic": int.from_bytes(MAGIC, "little"),
            "version": tensor.VERSION,
            "headerWords": tensor.HEADER_WORDS,
            "descriptorWords": tensor.DESCRIPTOR_WORDS,
            "nameWord": tensor.NAME_WORD,
            "stateWords": tensor.STATE_WORDS,
            "parameters": tensor.PARAMETERS,
            "relative": dialect1.RELATIVE,
            "group": tensor.GROUP,
        },
        "limits": {
            "extent": tensor.MAX_EXTENT,
            "code": dialect1.MAX_CODE,
            "descriptors": dialect1.MAX_DESCRIPTORS,
            "count": tensor.MAX_COUNT,
            "depth": tensor.DEPTH,
            "work": verifier.MAX_WORK,
            "inner": rules.MAX_INNER,
            "context": rules.MAX_CONTEXT,
            "candidates": ops.SAMPLE_CANDIDATES,
            "block": ops.BLOCK,
        },
        "statuses": {
            "ready": tensor.READY,
            "yielded": tensor.YIELDED,
            "halted": tensor.HALTED,
        },
        "matrix": {
            "firstColumn": matrix.FIRST_COLUMN,
            "smallestScale": matrix.SMALLEST_SCALE,
            "largestFloat": matrix.LARGEST_FLOAT,
        },
        "png": {
            "maxPixels": png.MAX_PIXELS,
            "usualPixels": png.USUAL_PIXELS,
            "maxWidth": png.MAX_WIDTH,
            "maxChunks": png.MAX_CHUNKS,
            "maxInflateRatio": png.MAX_INFLATE_RATIO,
            "readBytes": png.READ_BYTES,
            "sniffed": png.SNIFFED,
            "bandBytes": BAND_BYTES,
            "idatBytes": IDAT_BYTES,
            "readWholeBytes": mappable.READ_WHOLE_BYTES,
            "maxMappableWidth": mappable.MAX_MAPPABLE_WIDTH,
            "maxChunkBytes": mappable.MAX_CHUNK_BYTES,
            "damaged": png.DAMAGED,
            "resave": png.RESAVE,
            "channels": png.CHANNELS,
            "depths": png.BIT_DEPTHS,
            "adam7": png.ADAM7,
            "animation": [kind.decode() for kind in png.ANIMATION],
        },
        "exp2": EXP2.tolist(),
    }


def _opcode(op: Opcode) -> dict[str, Any]:
    return {
        "code": op.code,
        "name": op.name,
        "dialect": op.dialect,
        "legacy": op.legacy,
        "operands": [mode.name for mode in op.operands],
        "types": op.types,
        "shape": op.shape,
        "semantics": op.semantics,
        "operations": op.operations,
        "bytes": op.bytes,
        "color": op.color,
        "flow": op.flow.name,
        "parameters": [
            {"name": p.name, "mode": p.mode.name, "types": p.types} for p in op.parameters
        ],
        "inPlace": op.in_place,
        "addsBias": op.adds_bias,
    }


def constants() -> str:
    """The tables that the interpreter's AssemblyScript needs, as its source."""
    found: list[tuple[str, int]] = []
    found += [(f"OP_{op.name.upper()}", op.code) for op in isa.OPCODES if op.dialect == 1]
    found += [(f"DTYPE_{dtype.name}", int(dtype)) for dtype in DType]
    found += [(f"LARGEST_{dtype.name}", LARGEST.get(dtype, 128)) for dtype in DType]
    found += [(f"ROLE_{role.name}", int(role)) for role in Role]
    found += [(f"STATE_{word.name}", int(word)) for word in State]
    found += [
        ("READY", tensor.READY),
        ("YIELDED", tensor.YIELDED),
        ("HALTED", tensor.HALTED),
        ("MAX_COUNT", tensor.MAX_COUNT),
        ("STATE_WORDS", tensor.STATE_WORDS),
        ("PARAMETERS", tensor.PARAMETERS),
        ("RELATIVE", dialect1.RELATIVE),
        ("GROUP", tensor.GROUP),
        ("BLOCK", ops.BLOCK),
        ("FAR", ops.FAR),
        ("LOG2E_MANTISSA", int(ops.LOG2E[0])),
        ("LOG2E_EXPONENT", int(ops.LOG2E[1])),
        ("SAMPLE_CANDIDATES", ops.SAMPLE_CANDIDATES),
    ]
    lines = ["// Written by python -m pxvm.studio.generated from Python's tables; never edited."]
    lines += [f"export const {name}: i32 = {value};" for name, value in found]
    numbers = ", ".join(map(str, EXP2.tolist()))
    lines.append(f"export const EXP2: usize = memory.data<i32>([{numbers}]);")
    return "\n".join(lines) + "\n"


def contents() -> dict[Path, str]:
    """What stands in each generated file."""
    return {
        JSON: json.dumps(tables(), ensure_ascii=False, indent=1) + "\n",
        CONSTANTS: constants(),
    }
