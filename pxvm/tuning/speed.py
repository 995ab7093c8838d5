"""How a program is run fastest here: settings beside the defaults, in turns, the same bytes.

Each setting of the table in ``core.choices`` is tried by itself, those that gain then together,
and what is best at last once more, against the defaults in fresh rounds. It is kept where it gains
in the mean of all kinds of work and loses in none; else the defaults are.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.core import choices, executors, notes
from pxvm.core.choices import GAIN, LOSS, UNPAIRED, parsed
from pxvm.core.container import open_image
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import DeviceError
from pxvm.core.notes import mean, text_of
from pxvm.core.parts import Image
from pxvm.core.resources import processors
from pxvm.core.verifier import verify
from pxvm.learning import Network
from pxvm.models.families.llama import reset
from pxvm.models.generation import Sampling
from pxvm.models.model import Model, ModelError
from pxvm.tuning.errors import TuneError
from pxvm.tuning.records import Pace, read, store

ROUNDS, SURE = 3, 9  # of a first look, and of what decides
HOPELESS = 0.9  # a ratio from which on a first look ends, or need not be taken again
SMALL = 1 << 14  # pixels of a program that NumPy may be done with before others begin
PROMPT, START, DRAWN = 256, 8, 16  # tokens
ONE, MANY = 8, 64  # sentences
MOST_STEPS = 1 << 20

Settings = Mapping[str, Any]
Work = Mapping[str, Callable[[], bytes]]
Told = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What was found.

    Attributes:
        shape: of the program.
        busy: neighbours, as ``choices.neighbours`` counted them.
        settings: the best; empty: the defaults.
        ratios: of the default's seconds over theirs, by kind of work, from the last rounds.
        measured: everything that is worth remembering.
    """

    shape: str
    busy: int
    settings: dict[str, Any]
    ratios: dict[str, float]
    measured: list[Pace]


class Subject:
    """A model or a program that can be run with any settings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.image = open_image(path)
        program = verify(self.image)
        if not isinstance(program, TensorProgram):
            raise TuneError(
                f"{path}: a program of dialect 0, which the reference executor always runs; there"
                " is nothing to choose"
            )
        self.program = program
        self.shape = choices.shape_of(program)

    def may(self, value: Any) -> bool:
        """Whether a value can be better at all: NumPy for what is small, a GPU where one gains."""
        if value == "reference":
            return bool(self.image.size < 4 * SMALL)
        if str(value).startswith("gpu"):
            if self.image.size < 4 * executors.LEAST or "gpu" not in executors.installed():
                return False
            gpu: Any = executors.load("gpu")
            return gpu.gaining(self.program, False) is not None
        return True

    def work(self, settings: Settings, stack: ExitStack) -> Work:
        """Its kinds of work, each giving the bytes that it leaves.

        Raises DeviceError where the settings name a device that is not here.
        """
        device, threads = settings.get("device", "auto"), settings.get("threads")
        executors.executor(device, 1)
        try:
            model = stack.enter_context(Model.open(self.path, device, threads))
        except ModelError:
            return {"run": lambda: self._run(device, threads, bool(settings))}
        if model.kind == "embedder":
            model.embedder.most = settings.get("rows", choices.ROWS)
            rng = np.random.default_rng(4)
            longest = min(model.embedder.limit, 64)
            vocabulary = model.fields.descriptor("embedding").rows
            lengths = np.exp(rng.uniform(np.log(4), np.log(longest), MANY)).astype(int)
            texts = [rng.integers(0, vocabulary, n).tolist() for n in lengths]
            return {
                "one sentence": lambda: b"".join(
                    model.embedder.embed([text]).tobytes() for text in texts[:ONE]
                ),
                "many sentences": lambda: model.embedder.embed(texts).tobytes(),
            }
        room = model.generator.part
        model.generator.part = min(settings.get("prompt", room), room)
        return {"prompt": lambda: _prompt(model), "decode": lambda: _decode(model)}

    def _run(self, device: str, threads: int | None, looks: bool) -> bytes:
        if looks:
            time.sleep(notes.LOOK)  # ``auto`` counts neighbours before it goes by what is known
        image: Image = np.array(self.image)
        executors.executor(device, 1).run(image, verify(image), MOST_STEPS, threads)
        return hashlib.sha256(image.tobytes()).digest()


def _prompt(model: Model) -> bytes:
    count = min(PROMPT, model.generator.context - 1)
    ids = np.random.default_rng(1).integers(0, model.generator.vocab, count).tolist()
    reset(model.fields)
    model.generator.feed(ids)
    model.generator.session.sync()
    return bytes(model.fields["logits"].tobytes())


def _decode(model: Model) -> bytes:
    ids = list(range(1, START + 1))
    answer = model.generator.answer(ids, Sampling(temperature=0.0))
    drawn = [token for token, _ in zip(answer, range(DRAWN), strict=False)]
    return repr(drawn).encode()


def tune(
    subject: Subject, known: Sequence[Pace] = (), *, rounds: int = SURE,
    measured: list[Pace] | None = None, told: Told | None = None,
) -> Outcome:  # fmt: skip
    """Find the settings with which a program runs fastest, here and now.

    Args:
        known: what was measured before; what was hopeless then is not tried again.
        rounds: that decide; fewer for a first look.
        measured: what is measured is put here at once, so that it outlives an interrupt.
        told: called with what is being measured.

    Raises TuneError where settings change a byte, which is a fault of pxvm.
    """
    with choices.defaults():
        into = [] if measured is None else measured
        return _Speed(subject, known, rounds, into, told or (lambda what: None)).run()


class _Speed:
    def __init__(
        self, subject: Subject, known: Sequence[Pace], rounds: int, measured: list[Pace],
        told: Told,
    ) -> None:  # fmt: skip
        self.subject, self.rounds, self.told, self.measured = subject, rounds, told, measured
        self.busy = choices.neighbours()
        self.machine = f"{choices.machine()}, {self.busy} busy"
        like = [p for p in known if (p.program, p.machine) == (subject.shape, self.machine)]
        self.before: dict[str, list[float]] = {}
        for pace in like:
            self.before.setdefault(pace.settings, []).append(pace.ratio)
        self.stack = ExitStack()

    def run(self) -> Outcome:
        with self.stack:
            self.default = self.subject.work({}, self.stack)
            self.right = {name: work() for name, work in self.default.items()}
            gains = {}
            for settings in self._candidates():
                ratios = self._compare(settings, min(ROUNDS, self.rounds), 0)
                if ratios and _good(ratios):
                    gains[text_of(settings)] = (mean(ratios.values()), settings)
            wanted: dict[str, Any] = {}
            for _, settings in sorted(gains.values(), key=lambda g: g[0]):
                wanted |= settings  # of two values of one setting the better one
            ranked = sorted(gains.values(), key=lambda g: -g[0])
            options = [s for _, s in ranked[:1]]
            if len(wanted) > 1:
                options.insert(0, wanted)
            for settings in options:
                ratios = self._compare(settings, self.rounds, 1)
                if ratios and _good(ratios):
                    return self._outcome(settings, ratios)
            return self._outcome({}, dict.fromkeys(self.default, 1.0))

    def _outcome(self, settings: Settings, ratios: dict[str, float]) -> Outcome:
        return Outcome(self.subject.shape, self.busy, dict(settings), ratios, self.measured)

    def _candidates(self) -> Iterator[dict[str, Any]]:
        for name, setting in choices.settings().items():
            if not set(setting.work) & self.default.keys():
                continue
            for value in setting.values:
                before = self.before.get(text_of({name: value}))
                hopeless = before is not None and statistics.median(before) < HOPELESS
                if not hopeless and self.subject.may(value):
                    yield {name: value}

    def _compare(self, settings: Settings, rounds: int, decides: int) -> dict[str, float] | None:
        """How much faster each kind of work is, in turns with the defaults; None: not here."""
        self.told(text_of(settings))
        table = choices.settings()
        ratios = dict.fromkeys(self.default, 1.0)
        with ExitStack() as stack:
            try:
                work = self.subject.work(settings, stack)
                touched = [n for n in work if any(n in table[s].work for s in settings)]
                for name in touched:
                    if work[name]() != self.right[name]:  # and it is warm
                        raise TuneError(
                            f"{self.subject.path}: {text_of(settings)} changed what {name} gives:"
                            " this is a fault of pxvm"
                        )
                    ratios[name] = self._race(settings, name, work[name], rounds, decides)
                    if ratios[name] < HOPELESS:
                        break
            except DeviceError:
                return None
        return ratios

    def _race(
        self, settings: Settings, name: str, work: Callable[[], bytes], rounds: int, decides: int
    ) -> float:
        pairs = []
        for number in range(rounds):
            both = [(self.default[name], 0), (work, 1)]
            taken = [0.0, 0.0]
            for run, place in both if number % 2 else both[::-1]:
                begin = time.perf_counter()
                run()
                taken[place] = time.perf_counter() - begin
            pairs.append((taken[0] / max(taken[1], 1e-9), taken[1]))
            if number == 0 and pairs[0][0] < HOPELESS / 2:
                break
        ratio = statistics.median(p[0] for p in pairs)
        seconds = statistics.median(p[1] for p in pairs)
        text = text_of(settings)
        self.measured.append(
            Pace(self.subject.shape, self.machine, name, text, seconds, ratio, decides)
        )
        return ratio


def _good(ratios: Mapping[str, float]) -> bool:
    return mean(ratios.values()) >= GAIN and min(ratios.values()) >= LOSS


def best_of(measured: Sequence[Pace]) -> dict[str, dict[str, Any]]:
    """The best settings of each program on this machine, by ``choices.key``, from measurements.

    Only the rounds that decide count, the median where there are several; settings that the table
    does not allow, or that were measured elsewhere, do not.
    """
    found: dict[tuple[str, int], dict[str, dict[str, list[float]]]] = {}
    for pace in measured:
        here, _, busy = pace.machine.rpartition(", ")
        number = busy.removesuffix(" busy")
        settings = parsed(pace.settings)
        if (
            not pace.decides
            or here != choices.machine()
            or not (number.isdecimal() and int(number) <= processors())
            or settings is None
        ):
            continue
        place = found.setdefault((pace.program, int(number)), {})
        place.setdefault(text_of(settings), {}).setdefault(pace.work, []).append(pace.ratio)
    best = {}
    for (shape, neighbours), options in found.items():
        kinds = {kind for works in options.values() for kind in works}
        rated = {
            text: {kind: statistics.median(works.get(kind, [1.0])) for kind in kinds}
            for text, works in options.items()
        }
        good = [text for text, ratios in rated.items() if _good(ratios)]
        if good:
            text = max(good, key=lambda t: (mean(rated[t].values()), t))
            best[choices.key(shape, neighbours)] = parsed(text) or {}
    return best


def ordinary(noted: Sequence[notes.Note]) -> dict[str, list[Pace]]:
    """What ordinary runs took, by key, where enough tell of the defaults and of other settings.

    They were not run in turns, so only what is clear decides.
    """
    keys: dict[str, list[notes.Note]] = {}
    for note in noted:
        keys.setdefault(note.key, []).append(note)
    found: dict[str, list[Pace]] = {}
    for key, group in keys.items():
        rated, parts = notes.rated(group), key.split(" | ")
        if not rated.keys() - {choices.DEFAULTS} or len(parts) != 3:
            continue
        shape, machine, busy = parts
        for settings, works in rated.items():
            for work, (ratio, seconds) in works.items():
                clear = int(not 1 / UNPAIRED < ratio < UNPAIRED)
                with suppress(ValueError):
                    pace = Pace(shape, f"{machine}, {busy}", work, settings, seconds, ratio, clear)
                    found.setdefault(key, []).append(pace)
    return found


def known(network: Network) -> list[Pace]:
    """What a memory knows; what ordinary runs noted meanwhile is remembered in it first."""
    noted = notes.read()
    found = ordinary(noted)
    if found:
        store(network, [pace for paces in found.values() for pace in paces])
        notes.write([note for note in noted if note.key not in found])
    return list(read(network, Pace))
