"""Does a GPU give the same bytes? Checked on any device, and with every model that is there.

``python -m tests.gpu.check [--device gpu:N] [--seconds 60] [--tokens 64] [--sentences 500]``, or
``make gpu-check``. Ends with status 1 where anything differs from the processor's.

The last lines are for the table in docs/GPU.md. SmolLM2 and MiniLM take part where they have been
fetched (``pxvm models get``); ``--short`` leaves them out, and runs every third file only.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from pxvm import Model
from pxvm.core import executors
from pxvm.core.container import read_image
from pxvm.core.errors import DeviceError, ExecutionError, MissingPackageError, ProgramError
from pxvm.core.interpreter import run_program
from pxvm.gpu.devices import LIBRARIES, Adapter, adapter_of
from pxvm.gpu.executor import Chosen, choose
from pxvm.models.download import cached
from pxvm.models.generation import Sampling
from tests.conformance.make import HERE, digest
from tests.differential.generator import generate, generate_large
from tests.differential.harness import compare
from tests.models.tiny_models import write_llama

PROMPT = "Once upon a time"
KINDS = {
    "greedy": {},
    "sampled": {"temperature": 0.9, "top_p": 0.95, "penalty": 1.1, "seed": 7},
}
SUBJECTS = ("the harbour", "a small dog", "winter", "her answer", "the third page", "rain")
DEEDS = ("waits for", "remembers", "is older than", "belongs to", "changes", "ends with")


class Check:
    """What is compared, and whether all of it was alike."""

    def __init__(self, device: str) -> None:
        self.device, self.alike = device, True
        self.other = "cpu" if not executors.load("cpu").available() else "reference"

    def same(self, what: str, make: Callable[[str], str]) -> None:
        """Compare a hash from the device with the processor's."""
        found, times = [], []
        for device in (self.device, self.other):
            begin = time.monotonic()
            found.append(make(device))
            times.append(time.monotonic() - begin)
        self.tell(what, found[0], found[0] == found[1], "{:.1f} s, {:.1f} s".format(*times))

    def tell(self, what: str, hashed: str, alike: bool, note: str = "") -> None:
        """A line of the result."""
        self.alike &= alike
        verdict = f"as {self.other}" if alike else f"DIFFERENT from {self.other}"
        print(f"{what:<32} {hashed[:16]:<16} {verdict}  {note}".rstrip(), flush=True)

    def conformance(self, every: int) -> None:
        """The golden files, or every third of them, say."""
        golden = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))
        golden = {name: golden[name] for name in [*golden][::every]}
        hashes, wrong = hashlib.sha256(), []
        for name, entry in golden.items():
            image, refused = read_image(HERE / name), None
            try:
                run_program(image, entry["max_steps"], device=self.device)
            except ProgramError:
                refused = "program"
            except ExecutionError as error:
                refused = int(str(error).split()[1])
            found = digest(image)
            hashes.update(found.encode())
            if (found, refused) != (entry["sha256"], entry.get("refused")):
                wrong.append(name)
        note = f"{len(golden) - len(wrong)} of {len(golden)}"
        self.tell("conformance", hashes.hexdigest(), not wrong, ", ".join([note, *wrong]))

    def random(self, seconds: float, most: int) -> None:
        """Random programs beside the reference, straight and stopped, going on on the other."""
        first, count = secrets.randbits(32), 0
        end = time.monotonic() + seconds
        found = None
        while count < most and time.monotonic() < end and found is None:
            seed = first + count
            image = generate_large(seed) if count % 20 == 19 else generate(seed)
            found = compare(image, ("reference", self.device), Random(seed))
            count += 1
        note = f"{count} programs, seeds from {first} on"
        self.tell("random programs", "", found is None, f"{note}: {found}" if found else note)

    def answers(self, name: str, path: Path, tokens: int) -> None:
        """A text, greedy and sampled: whole on each device, then half on each, both ways."""
        for kind, settings in KINDS.items():
            what = f"{name}, {tokens} tokens {kind}"
            self.same(what, lambda device, s=settings: _answer(path, [device], tokens, s))
        for ends in ((self.device, self.other), (self.other, self.device)):
            settings = KINDS["sampled"]
            halves = _answer(path, ends, tokens, settings)
            whole = _answer(path, [self.other], tokens, settings)
            self.tell(f"{name}, {ends[0]} then {ends[1]}", halves, halves == whole)

    def sentences(self, path: Path, count: int) -> None:
        """The vectors of many sentences."""
        texts = [
            f"{SUBJECTS[i % 6]} {DEEDS[i // 6 % 6]} {SUBJECTS[i // 36 % 6]}, {i}" * (1 + i % 3)
            for i in range(count)
        ]

        def vectors(device: str) -> str:
            with Model.open(path, device=device) as model:
                return hashlib.sha256(model.embed(texts).tobytes()).hexdigest()

        self.same(f"minilm, {count} sentences", vectors)


def _answer(path: Path, devices: Sequence[str], tokens: int, settings: dict[str, Any]) -> str:
    """SHA-256 of the state saved behind an answer to which each device adds an equal part."""
    prompt = PROMPT if path.name.startswith("smollm2") else "bado fine kus"
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.pxi"
        for number, device in enumerate(devices, 1):
            part = tokens * number // len(devices)
            if number == 1:
                model = Model.open(path, device=device, context=256)
            else:
                model = Model.resume(state, device=device, context=256)
            with model:
                g = model.generator
                if number == 1:
                    _take(g.answer(model.tokenizer.encode(prompt), Sampling(**settings)), part)
                else:
                    _take(g.proceed(), part - len(g.drawn()))
                model.save_state(state)
        return hashlib.sha256(state.read_bytes()).hexdigest()


def _take(tokens: Iterable[int], count: int) -> None:
    for _ in islice(tokens, count):
        pass


def adapter_named(device: str) -> Adapter:
    """The adapter of a device's name, "gpu" and so on. Raises DeviceError."""
    option = device.partition(":")[2]
    chosen = choose(option) if option else Chosen()
    return adapter_of(chosen.number, chosen.through)


def main() -> int:
    """0 when all is alike, or when there is no GPU, which is said."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.check", description=__doc__)
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--seconds", type=float, default=60, help="of random programs")
    parser.add_argument("--programs", type=int, default=1 << 30, help="random programs at most")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--short", action="store_true", help="fewer files and no real models")
    given = parser.parse_args()
    try:
        adapter = adapter_named(given.device)
    except (DeviceError, MissingPackageError) as error:
        print(f"no GPU: {error}")
        return 0
    package = LIBRARIES[adapter.through][0]
    version = importlib.metadata.version(package)
    print(f"{adapter.name}, {adapter.driver}, through {package} {version} and {adapter.backend}")
    check = Check(given.device)
    check.conformance(3 if given.short else 1)
    check.random(given.seconds, given.programs)
    with tempfile.TemporaryDirectory() as folder:
        check.answers(
            "a small model", write_llama(Path(folder) / "tiny.pxi"), min(given.tokens, 16)
        )
    if not given.short:
        for name in ("smollm2", "minilm"):
            if not cached(name).exists():
                print(f"{name} is not here: pxvm models get {name}")
            elif name == "smollm2":
                check.answers(name, cached(name), given.tokens)
            else:
                check.sentences(cached(name), given.sentences)
    print("one PNG, one answer" if check.alike else "DIFFERENT: one PNG must have one answer")
    return 0 if check.alike else 1


if __name__ == "__main__":
    sys.exit(main())
