"""How many fraction bits each value of a graph gets.

Every 32-bit value gets the most with which ``headroom`` times its largest magnitude in the
calibration run still fits; values that an instruction wants in one unit (the two sides of an Add)
share the smallest of theirs. Whole numbers have none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pxvm.core.errors import ProgramError
from pxvm.models.graph.graph import Graph
from pxvm.models.graph.quantise import LIMIT, best_frac

MOST = 46  # of small values
USUAL = 24  # where nothing but zeros was seen, and at most where single steps are taken
SAME_FRAC = {
    "add", "relu", "mean", "sum", "max", "max_pool", "avg_pool", "reshape", "transpose", "slice",
    "concat",
}  # fmt: skip
BOUNDED = {"sigmoid", "tanh", "softmax", "l2_normalise"}  # by 1, whatever was measured


def fractions(graph: Graph, magnitudes: Sequence[float], headroom: float) -> list[int]:
    """Fraction bits of every value, by index.

    Args:
        magnitudes: the largest of each value in the calibration run.

    Raises ProgramError when one does not fit 32 bits.
    """
    parent = list(range(len(graph.values)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for value in graph.values:
        tied = value.inputs if value.op in SAME_FRAC else ()
        tied = value.inputs[:1] if value.op == "mean_pool" else tied
        for other in tied:
            if value.frac is None and other.frac is None:
                parent[root(other.index)] = root(value.index)
    chosen: dict[int, int] = {}
    for value, magnitude in zip(graph.values, magnitudes, strict=True):
        if not math.isfinite(magnitude):
            raise ProgramError(f"{value.name}: expected finite numbers; found {magnitude}")
        group, room = root(value.index), 2.0 if value.op == "constant" else headroom
        peak = 1.0 if value.op in BOUNDED else magnitude
        bits = best_frac(peak, room, MOST if magnitude else USUAL)
        chosen[group] = min(bits, chosen.get(group, bits))
        if value.op == "trunc":
            group = root(value.inputs[0].index)
            chosen[group] = min(USUAL, chosen[group])
    fracs = [chosen[root(v.index)] if v.frac is None else v.frac for v in graph.values]
    for value, magnitude, frac in zip(graph.values, magnitudes, fracs, strict=True):
        if math.ldexp(magnitude, frac) >= LIMIT:
            raise ProgramError(
                f"{value.name}: values up to {magnitude:g} with {frac} fraction bits need more"
                " than 32 bits"
            )
    return fracs
