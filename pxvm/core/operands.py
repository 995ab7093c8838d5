"""What an instruction names: its tensors, and its parameters by name."""

from __future__ import annotations

from typing import Any

from pxvm.core.dialect1 import TENSORS, Network
from pxvm.core.isa import Mode
from pxvm.core.program import Instruction
from pxvm.core.tensor import Descriptor


def operands(
    network: Network, instruction: Instruction, base: int
) -> tuple[list[Descriptor], dict[str, Any]]:
    """Descriptors of G, B and A; of the parameters the descriptor, or the word of a number."""
    tensors: list[Descriptor] = []
    named: dict[str, Any] = {}
    for mode, operand in zip(instruction.op.operands, instruction.operands, strict=True):
        if mode in TENSORS:
            tensors.append(network.descriptors[network.index(operand, base)])
        elif mode is Mode.PARAMETERS:
            words = network.descriptors[network.index(operand, base)].parameters
            for (name, kind), word in zip(instruction.op.parameters, words, strict=False):
                number = kind in ("number", "scale")
                named[name] = word if number else network.descriptors[word]
    return tensors, named
