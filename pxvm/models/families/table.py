"""The families of models that can be imported."""

from __future__ import annotations

from pxvm.models.families.family import Family
from pxvm.models.families.known import bert, gemma, llama, phi, qwen, smollm3

FAMILIES: tuple[Family, ...] = (
    llama.FAMILY, qwen.FAMILY, gemma.FAMILY, phi.FAMILY, smollm3.FAMILY, bert.FAMILY,
)  # fmt: skip
GGUF = {name: family for family in FAMILIES for name in family.gguf}
HF = {name: family for family in FAMILIES for name in family.hf}
