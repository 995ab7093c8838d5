"""What is learned from measurements: tasks in words, bits of weights, ways to run.

    python -m benchmarks.tuning                    all parts, about half an hour on two processors
    python -m benchmarks.tuning words weights ...  some of them

Each part has its control in the same run: the same model without what was remembered, the same
tuning from nothing, the defaults in turns with what was chosen. Numbers of trials, bytes and
programs depend on the seed alone; seconds on the machine.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._coach_tasks import tasks
from benchmarks._parts import parser, told
from pxvm.coach.coach import Coach
from pxvm.coach.expression import evaluate
from pxvm.coach.memory import SOLVED
from pxvm.coach.search import Spent
from pxvm.coach.speaking import Speaking
from pxvm.core import choices
from pxvm.core.errors import PxvmError
from pxvm.core.resources import processors
from pxvm.integration.embedded import Embedded
from pxvm.learning import Network
from pxvm.learning.search.vectors import build_vectors, save_vectors
from pxvm.models.download import fetch, get
from pxvm.models.families.bert import BertConfig
from pxvm.models.families.llama import LlamaConfig
from pxvm.tuning import quantise, speed
from pxvm.tuning.records import Damage
from pxvm.tuning.text import TEXT
from pxvm.tuning.trials import Choices, Trials
from tests.models.model_files import hf_bert, hf_llama
from tests.models.tiny_models import bytes_bpe, wordpiece

VARIED = Path(__file__).resolve().parent / "texts/varied.txt"
TAUGHT, ASKED, DEEPEST, TASK_BUDGET = 120, 50, 3, 3_000
SEEN = 33  # trials with the model that is seen first
BUDGETS = (3, 4, 5, 6, 7, 9, 11, 13, 15, 20, 28, 42)
SMALL = {
    "small-1": BertConfig(4, 128, 4, 512, 400, 64),
    "small-2": BertConfig(2, 192, 6, 384, 400, 64),
    "small-3": LlamaConfig(4, 128, 4, 2, 256, 640, context=128),
}
CLOSE = 0.97  # of the bytes saved with everything measured: what counts as the same
VECTORS = 20_000
ROUNDS = 9
WANTED, LEAST = 1.15, 0.98  # of the default's time over the tuned: of two works, and of none less


def row(name: str, *cells: object) -> None:
    print(f"{name:<44}" + "".join(f"{cell!s:>16}" for cell in cells), flush=True)


# -- tasks in words for a language model ---------------------------------------------------------


def words() -> None:
    """One answer for each task, with programs of similar tasks in the question and without."""
    print(f"\nwords: {ASKED} tasks of depth 1 to {DEEPEST}, one answer of SmolLM2-135M each")
    given = [t for t in tasks(5, 500) if int(t.name.rsplit(" ", 1)[1]) <= DEEPEST]
    asked, others = given[:ASKED], given[ASKED : ASKED + TAUGHT]
    with tempfile.TemporaryDirectory() as folder, Network.open(Path(folder) / "k.png") as network:
        coach = Coach(network)
        for task in others:
            coach.solve(task, TASK_BUDGET)
        coach.memory.refresh()
        known = [e for e in coach.memory.trusted() if e.outcome == SOLVED]
    backend = Embedded("smollm2")
    solved = {"with": 0, "without": 0}
    row("", "with", "without", "ratio")
    for number, task in enumerate(asked, 1):
        for name, remembered in (("with", known), ("without", [])):
            found = Speaking(backend, task, remembered, ()).run(Spent(1))
            solved[name] += found is not None and _holds(found, task)
        if number % 10 == 0:
            row(f"  after {number} tasks", *solved.values())
    backend.close()
    row(f"right at once, {len(known)} programs known", *solved.values(),
        f"{solved['with'] / max(1, solved['without']):.2f}")  # fmt: skip


def _holds(program: Any, task: Any) -> bool:
    return bool((evaluate(program, task.given) == task.wanted).all())


# -- bits of weights -----------------------------------------------------------------------------


class Kept(Trials):
    """Trials whose results are kept: counted each time, computed once."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.kept: dict[Any, Any] = {}
        super().__init__(*arguments, **named)

    def _once(self, what: str, choices: Choices | None, compute: Callable[..., Any]) -> Any:
        name = what, self.fine, tuple(sorted((choices or {}).items()))
        if name in self.kept:
            self.done += 1
        else:
            self.kept[name] = compute(choices)
        return self.kept[name]

    def damage(self, choices: Choices) -> tuple[float, float]:
        return self._once("damage", choices, super().damage)

    def loss(self, choices: Choices | None = None) -> float:
        return self._once("loss", choices, super().loss)


@contextmanager
def opened(name: str, folder: Path) -> Iterator[Kept]:
    """A named model ready for trials."""
    inside = folder / name
    inside.mkdir()
    source = fetch(name, inside, lambda *_: None)
    with Kept(source, TEXT, default=get(name)) as trials:
        yield trials


@contextmanager
def small(name: str, config: BertConfig | LlamaConfig, folder: Path) -> Iterator[Kept]:
    """A network of random weights."""
    bert = isinstance(config, BertConfig)
    source = (hf_bert if bert else hf_llama)(folder / name, config)
    (source / "tokenizer.json").write_text(wordpiece() if bert else bytes_bpe())
    with Kept(source, TEXT) as trials:
        yield trials


def weights() -> None:
    """SmolLM2 and small networks first; then MiniLM with what they taught, and from nothing."""
    print("\nweights: sizes are those of all weights' integers; losses on texts not tuned with")
    with tempfile.TemporaryDirectory() as name:
        with opened("smollm2", Path(name)) as trials:
            begin = time.perf_counter()
            found = quantise.tune(trials, budget=SEEN)
            seconds = time.perf_counter() - begin
            seen = found.measured
            row("SmolLM2-135M", "tuned", "default", "ratio")
            row("bytes of weights", f"{found.bytes:,}", f"{found.default_bytes:,}",
                f"{found.bytes / found.default_bytes:.3f}")  # fmt: skip
            with trials._opened({}) as model:
                trials.ids = model.tokenizer.encode(VARIED.read_text(encoding="utf-8"))[:385]
            trials.kept.clear()
            both = [math.exp(trials.loss(c)) for c in (found.choices, {})]
            row("perplexity of another text, 384 tokens", *(f"{p:.4f}" for p in both),
                f"{both[0] / both[1]:.5f}")  # fmt: skip
            row("trials; seconds", found.trials, f"{seconds:.0f}")
        for each, config in SMALL.items():
            with small(each, config, Path(name)) as trials:
                found = quantise.tune(trials, budget=quantise.every(trials.weights))
                seen += found.measured
        row(f"{len(SMALL)} small networks; measured in all", len(seen))
        with opened("minilm", Path(name)) as trials:
            _transfer(trials, seen)


def _transfer(trials: Kept, seen: Sequence[Damage]) -> None:
    whole = quantise.tune(trials, budget=quantise.every(trials.weights) + 40)
    row("MiniLM", "tuned", "default", "ratio")
    row("bytes of weights", f"{whole.bytes:,}", f"{whole.default_bytes:,}",
        f"{whole.bytes / whole.default_bytes:.3f}")  # fmt: skip
    row("mean cosine to float32", f"{1 - whole.loss:.5f}", f"{1 - whole.default_loss:.5f}")
    goal = CLOSE * (whole.default_bytes - whole.bytes)
    arms = {"having seen": list(seen), "from nothing": []}
    first = dict.fromkeys(arms, 0)  # the budget from which on it is enough
    row("bytes saved by trials", *arms)
    for budget in BUDGETS:
        saved = []
        for name, known in arms.items():
            found = quantise.tune(trials, known, budget=budget)
            saved.append(found.default_bytes - found.bytes)
            enough = saved[-1] >= goal
            first[name] = (first[name] or budget) if enough else 0
        row(f"  {budget} trials", *(f"{s:,}" for s in saved))
    reached = [n or f"> {BUDGETS[-1]}" for n in first.values()]
    row(f"trials from which on {goal:,.0f} are saved", *reached,
        f"{first['having seen'] / max(1, first['from nothing']):.2f}")  # fmt: skip


# -- ways to run ---------------------------------------------------------------------------------


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Other processes that keep processors busy."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def ways() -> None:
    """What tuning finds for a model, then both in turns again: that is what is shown."""
    print(f"\nways: {choices.machine()}; ratios of the default's time over the tuned, in turns")
    row("", "median", "quartiles", "chosen")
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        vectors = Path(folder) / "vectors.pxi"
        rng = np.random.default_rng(0)
        save_vectors(
            build_vectors(np.arange(VECTORS), np.full(VECTORS, 0.01),
                          rng.integers(-127, 128, (VECTORS, 384)).astype(np.int8)), vectors,
        )  # fmt: skip
        for name, path in (("SmolLM2", get("smollm2")), ("MiniLM", get("minilm"))):
            for busy in dict.fromkeys((0, processors() - 1)):
                ratios += _ways(name, path, busy)
        ratios += _ways(f"search of {VECTORS:,} vectors", vectors, 0)
    row(f"works that gain {WANTED:.2f} or more, of {len(ratios)}; wanted: 2",
        sum(ratio >= WANTED for ratio in ratios))  # fmt: skip
    row(f"the least ratio; wanted: {LEAST:.2f}", f"{min(ratios):.3f}")


def _ways(name: str, path: Path, busy: int) -> list[float]:
    """The ratio of each kind of work."""
    with neighbours(busy):
        time.sleep(0.5)
        subject = speed.Subject(path)
        found = speed.tune(subject, rounds=7)
        beside = f", {busy} busy beside it" if busy else ""
        chosen = ", ".join(f"{k} {v}" for k, v in found.settings.items()) or "the defaults"
        with ExitStack() as stack:
            default, tuned = (subject.work(s, stack) for s in ({}, found.settings))
            medians, table = [], choices.settings()
            for kind in default:
                low = median = high = 1.0  # what no chosen setting changes is the same run
                if any(kind in table[name].work for name in found.settings):
                    low, median, high = in_turns(default[kind], tuned[kind])
                row(f"{name}: {kind}{beside}", f"{median:.3f}", f"{low:.2f} to {high:.2f}",
                    f"  {chosen}")  # fmt: skip
                medians.append(median)
    return medians


def in_turns(default: Callable[[], bytes], tuned: Callable[[], bytes]) -> Sequence[float]:
    """Quartiles of the ratios of neighbouring runs' wall times; both give the same bytes."""
    assert default() == tuned()
    ratios = []
    for number in range(ROUNDS):
        taken = {}
        for run in (default, tuned) if number % 2 else (tuned, default):
            begin = time.perf_counter()
            run()
            taken[run] = time.perf_counter() - begin
        ratios.append(taken[default] / taken[tuned])
    return [float(q) for q in np.quantile(ratios, (0.25, 0.5, 0.75))]


PARTS = {"words": words, "weights": weights, "ways": ways}


def main(arguments: Sequence[str] = ()) -> None:
    """Run the parts."""
    for name in told(arguments, PARTS, parser(__doc__)).parts:
        try:
            PARTS[name]()
        except PxvmError as error:
            print(f"{name} left out: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
