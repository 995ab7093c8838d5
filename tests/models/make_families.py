"""Write families.npz: logits of the tiny models of ``family_files`` by transformers, in float64.

python -m tests.models.make_families, where torch and transformers are installed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from tests.models.family_files import CONFIGS, TOKENS, write_folder


def main() -> None:
    import torch
    from transformers import AutoModelForCausalLM

    found = {}
    for family in CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            path = write_folder(Path(folder), family)
            model = AutoModelForCausalLM.from_pretrained(
                path, dtype=torch.float64, attn_implementation="eager"
            )
            with torch.no_grad():
                logits = model(torch.tensor([TOKENS])).logits[0]
        found[family] = logits.numpy().astype(np.float16)
        print(family, found[family].shape, float(logits.abs().max()))
    np.savez_compressed(Path(__file__).with_name("families.npz"), **found)


if __name__ == "__main__":
    main()
