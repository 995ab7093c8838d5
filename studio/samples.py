"""Write the page's samples to studio/public/samples: small programs, a network, a memory.

They are part of the source, as pictures: a network trained anew has other weights, and a memory
other times. ``.venv/bin/python studio/samples.py`` replaces them; needs the extra examples.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from pxvm.core.container import save_image
from pxvm.examples import digits, make_dot_test, make_matmul_test
from pxvm.examples.knowledge_demo import chapters
from pxvm.learning import Draft, Network
from pxvm.learning.sources.learn import learn
from pxvm.models.families.small import mlp_graph
from pxvm.models.graph.fields import Fields
from pxvm.models.graph.lowering import lower

FOLDER = Path(__file__).with_name("public") / "samples"
TOLD = (
    ("Who wrote this picture?", "pxVM did: every record is drawn for people and stored for it.",
     "about"),
    ("Can it be read without pxVM?", "Yes: the first record says how, in plain words.", "about"),
    ("Wo hängt der Fahrradschlüssel?", "Hinter der blauen Tür.", "keys"),
    ("自行车钥匙在哪里？", "挂在蓝色的门后面。", "keys"),
    ("أين مفتاح الدراجة؟", "معلق خلف الباب الأزرق.", "keys"),
    ("When is the ferry?", "At ten.", "travel"),
)  # fmt: skip


def network(path: Path) -> None:
    """Ten handwritten digits, one of each, and what recognises them."""
    train, wanted, test, digit = digits.load()
    layers = digits.train_mlp(train, wanted)

    def ten(pictures: Any, named: Any) -> Any:
        return pictures[[int(np.flatnonzero(named == each)[0]) for each in range(10)]]

    image = lower(mlp_graph(layers, 10), {"input": ten(train, wanted)}, keep=True)
    Fields(image).set_real("input", ten(test, digit))
    save_image(image, path)


def memory(path: Path) -> None:
    """Two chapters of a novel, questions in several languages, one corrected, one forgotten."""
    with TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        with Network.open(made) as found:
            list(learn(found, islice(chapters(), 2)))
            now = datetime.now(timezone.utc)
            told = (Draft(q, a, tags=(tag,), event_time=now) for q, a, tag in TOLD)
            *_, ferry = found.append_many(told)
            found.correct(ferry, answer="At half past nine; at ten it has left.")
            found.forget(found.append("", "A note that was a mistake.", kind="note"))
        copyfile(made, path)


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    make_dot_test.make(FOLDER / "dot_test.pxi")
    make_matmul_test.make(FOLDER / "matmul_test.pxi")
    network(FOLDER / "network.pxi")
    memory(FOLDER / "knowledge.png")


if __name__ == "__main__":
    main()
