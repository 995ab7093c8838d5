"""A SmolLM2-shaped network, random weights: decoding and prompts beside llama.cpp, and its size.

Run: ``python -m benchmarks.decode [--quick] [--llama FOLDER]``. The peer is ``llama-cpp-python``
with ``gguf``, the extra ``bench``, in as many builds as are named (see ``_llama``); without it
there are only our own figures. All take turns, A B A B, and a ratio is the median of the ratios of
neighbours, ours and the faster build's. On a busy machine the clock says little: processor time,
which one thread alone can be judged by, stands beside it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks._llama import Peer, PeerError, missing, peers
from benchmarks._parts import parser, processor
from pxvm.core import executors
from pxvm.core.container import save_image
from pxvm.core.program import Image
from pxvm.core.verifier import verify
from pxvm.models.families.llama import (
    LlamaConfig,
    build_llama,
    reset,
    resize_context,
    set_tokens,
    weight_shapes,
)
from pxvm.models.graph.fields import Fields

CONFIG = LlamaConfig(layers=30, width=576, heads=9, kv_heads=3, ff=1536, vocab=49152)
CONTEXT, PROMPT, FAR, STEPS = 1536, 512, 1000, 16
THREADS = (1, 2)
REST = 0.2  # seconds before each timing, until the other engine's idle threads stop spinning
GOALS = {"decode": 1.5, "prompt": 300.0, "compile": 60.0, "start": 1.0, "overhead": 0.02}
START = """
import time, sys
sys.path.insert(0, {root!r})
from pxvm.core.container import open_image
from pxvm.core.verifier import verify
from pxvm.core import executors
image = open_image({path!r})
executors.executor("cpu").session(image, verify(image), 1).run(1)
"""


class RandomWeights(Mapping[str, Any]):
    """Weights drawn when they are asked for, the same for the same name."""

    def __init__(self, config: LlamaConfig) -> None:
        self.shapes = weight_shapes(config)

    def __getitem__(self, name: str) -> Any:
        shape = self.shapes[name]
        if len(shape) == 1:
            return np.ones(shape, np.float32)
        seed = sorted(self.shapes).index(name)
        return np.random.default_rng(seed).standard_normal(shape, np.float32) / np.sqrt(shape[1])

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def matrices(self) -> int:
        """Elements of all matrices: raw int8 bytes."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values() if len(shape) == 2)


class Ours:
    """The program, opened for a context, with one session for each number of threads."""

    def __init__(self, image: Image) -> None:
        self.fields = Fields(image)
        self.sessions = {
            n: executors.executor("cpu").session(image, verify(image), n) for n in THREADS
        }

    def fill(self, position: int) -> None:
        """Take in random tokens up to a position."""
        reset(self.fields)
        for first in range(0, position, PROMPT):
            set_tokens(self.fields, tokens(min(PROMPT, position - first)), answer=False)
            self.sessions[max(THREADS)].run(None)

    def decode(self, position: int, threads: int) -> None:
        """Draw STEPS tokens after so many, whatever the caches hold there."""
        self._place(position)
        set_tokens(self.fields, tokens(1))
        for _ in range(STEPS):
            self.sessions[threads].run(None)

    def prompt(self, threads: int) -> None:
        """Take in PROMPT tokens and draw one."""
        self._place(0)
        set_tokens(self.fields, tokens(PROMPT))
        self.sessions[threads].run(None)

    def _place(self, position: int) -> None:
        for name in ("output_length", "history_length", "seen"):
            self.fields[name] = 0
        self.fields["position"] = position


def tokens(count: int) -> list[int]:
    """Random tokens, the same every time."""
    return [int(t) for t in np.random.default_rng(count).integers(0, CONFIG.vocab, count)]


def write_gguf(path: Path, weights: RandomWeights) -> None:
    """The same shapes as a GGUF: Q4_1, the embedding Q8_0 as llama.cpp's quantiser leaves it."""
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    c = CONFIG
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(c.context)
    writer.add_embedding_length(c.width)
    writer.add_block_count(c.layers)
    writer.add_feed_forward_length(c.ff)
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.kv_heads)
    writer.add_layer_norm_rms_eps(c.epsilon)
    writer.add_rope_dimension_count(c.head)
    writer.add_vocab_size(c.vocab)
    writer.add_tokenizer_model("none")
    names = {"attention_norm": "attn_norm", "q": "attn_q", "k": "attn_k", "v": "attn_v",
             "o": "attn_output", "ff_norm": "ffn_norm", "gate": "ffn_gate", "up": "ffn_up",
             "down": "ffn_down"}  # fmt: skip
    for name in weights:
        layer, _, part = name.rpartition(".")
        top = {"embedding": "token_embd", "norm": "output_norm"}
        full = f"blk.{layer}.{names[part]}.weight" if layer else f"{top[name]}.weight"
        values = weights[name]
        if values.ndim == 1:
            writer.add_tensor(full, values)
            continue
        kind = GGMLQuantizationType.Q4_1 if layer else GGMLQuantizationType.Q8_0
        writer.add_tensor(full, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def timed(action: Callable[[], object], rest: float = 0.0) -> tuple[float, float]:
    """(elapsed, processor) seconds, after so many seconds of rest."""
    time.sleep(rest)
    start, before = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - start, time.process_time() - before


def speed(ours: Ours, others: list[Peer], rounds: int, say: Callable[[str], object]) -> Table:
    """Tokens a second, ours and each peer's in turns; a peer that dies is said, and left out."""
    load = os.getloadavg()[0]
    table = Table(title=f"Tokens a second (machine's load before: {load:.1f})")
    for column in (
        "what",
        "threads",
        "time by",
        "pxvm",
        *(p.name for p in others),
        "ratio",
        "goal",
    ):
        table.add_column(column, justify="left" if column in ("what", "time by") else "right")
    everyone = list(others)
    for what, at in (("decode", 0), ("decode", FAR), ("prompt", 0)):
        prepared(others, at, say)
        count = STEPS if what == "decode" else PROMPT
        shown = f"decode after {at}" if what == "decode" else f"prompt of {PROMPT}"
        goal = f"{GOALS['decode']}x" if what == "decode" else f"{GOALS['prompt']:.0f}"
        for threads in THREADS:
            taken = in_turns(ours, others, what, at, threads, rounds, say)
            for clock, by in enumerate(("clock", "processor")[: 1 + (threads == 1)]):
                each = {name: [t[clock] for t in times] for name, times in taken.items()}
                cells = [f"{count / statistics.median(times):.0f}" for times in each.values()]
                names, ratio = list(each), ""
                if len(names) > 1:
                    best = min(names[1:], key=lambda name: statistics.median(each[name]))
                    pairs = zip(each["pxvm"], each[best], strict=True)
                    ratio = f"{statistics.median(y / x for x, y in pairs):.2f}"
                found = dict(zip(names, cells, strict=True))
                row = [found.get(name, "") for name in ("pxvm", *(p.name for p in everyone))]
                table.add_row(shown, str(threads), by, *row, ratio, goal if threads == 2 else "")
    return table


def prepared(others: list[Peer], at: int, say: Callable[[str], object]) -> None:
    """Fill the peers' caches up to a position."""
    for peer in tuple(others):
        try:
            peer.call("place", 0)
            for first in range(0, at, PROMPT):
                peer.call("feed", tokens(min(PROMPT, at - first)))
        except PeerError as error:
            say(f"left out: {error}")
            others.remove(peer)


def in_turns(
    ours: Ours, others: list[Peer], what: str, at: int, threads: int, rounds: int,
    say: Callable[[str], object],
) -> dict[str, list[tuple[float, float]]]:  # fmt: skip
    """(elapsed, processor) seconds of each round, by name, ours first; the first only warms."""
    taken: dict[str, list[tuple[float, float]]] = {"pxvm": []}
    for _ in range(rounds + 1):
        action = (lambda: ours.decode(at, threads)) if what == "decode" else (
            lambda: ours.prompt(threads)
        )  # fmt: skip
        taken["pxvm"].append(timed(action, REST))
        for peer in tuple(others):
            time.sleep(REST)
            try:
                peer.call("threads", threads)
                arguments = (at, tokens(1)[0], STEPS) if what == "decode" else (0, tokens(PROMPT))
                seconds = peer.timed("decode" if what == "decode" else "take", *arguments)
                taken.setdefault(peer.name, []).append(seconds)
            except PeerError as error:
                say(f"left out: {error}")
                others.remove(peer)
                taken.pop(peer.name, None)
    return {name: times[1:] for name, times in taken.items()}


def bandwidth(threads: int) -> float:
    """Bytes a second that so many threads read of 512 MB, the best of several."""
    parts = np.array_split(np.ones(1 << 26, np.int64), threads)
    with ThreadPoolExecutor(threads) as pool:
        times = [timed(lambda: list(pool.map(np.maximum.reduce, parts)))[0] for _ in range(7)]
    return sum(part.nbytes for part in parts) / min(times)


def start(path: Path, cache: str | None = None) -> float:
    """Seconds of a new process from its start until the first instruction of a file is done."""
    root = str(Path(__file__).resolve().parents[1])
    code = START.format(root=root, path=str(path))
    environment = os.environ | ({"XDG_CACHE_HOME": cache} if cache else {})
    command = [sys.executable, "-c", code]
    return timed(lambda: subprocess.run(command, check=True, env=environment, capture_output=True))[
        0
    ]


def opening(path: Path, others: list[Peer]) -> tuple[float, float | None]:
    """Seconds from a file to its first token, ours and the fastest peer's, medians."""

    def first() -> None:
        image = resize_context(path, CONTEXT, prompt=PROMPT)
        set_tokens(image, [1])
        executors.executor("cpu").session(image, verify(image), max(THREADS)).run(None)

    rounds = [
        (timed(first)[0], *(p.timed("first", 1, max(THREADS))[0] for p in others)) for _ in range(4)
    ]
    ours, *theirs = (statistics.median(column) for column in zip(*rounds[1:], strict=True))
    return ours, min(theirs, default=None)


def facts(folder: Path, path: Path, gguf: Path, others: list[Peer], raw: int, quick: bool) -> Table:
    """Everything that is one number."""
    table = Table(title="Size, start, and the limit that memory sets")
    for column in ("what", "value", "goal"):
        table.add_column(column, justify="left" if column == "what" else "right")
    size = path.stat().st_size
    table.add_row(".pxi over raw int8 weights", f"{size / raw - 1:.2%}", "2%")
    if gguf.exists():
        table.add_row("GGUF beside .pxi", f"{gguf.stat().st_size / size:.2f}", "")
    for threads in THREADS:
        rate = bandwidth(threads)
        table.add_row(
            f"read by {threads} threads: GB/s; weights once: ms, tok/s",
            f"{rate / 1e9:.1f}; {1e3 * raw / rate:.2f}, {rate / raw:.0f}",
            "",
        )
    ours, theirs = opening(path, others)
    ratio = f"{ours:.3f} s" + (f", llama.cpp {theirs:.3f} s" if theirs else "")
    table.add_row("open to first token", ratio, "1x")
    warm = statistics.median(start(path) for _ in range(3))
    table.add_row("new process to first instruction, kernels cached", f"{warm:.2f} s",
                  f"{GOALS['start']:.0f} s")  # fmt: skip
    if not quick:
        cold = start(path, cache=str(folder / "cache"))
        table.add_row("the same, kernels compiled first", f"{cold:.1f} s",
                      f"{GOALS['compile']:.0f} s")  # fmt: skip
    return table


def main(arguments: Sequence[str] = ()) -> None:
    """Print both tables."""
    reads = parser(__doc__)
    reads.add_argument("--quick", action="store_true")
    reads.add_argument("--llama", action="append", default=[], type=Path, metavar="FOLDER")
    given = reads.parse_args(arguments)
    console = Console(width=120)
    say = partial(console.print, markup=False, highlight=False)
    weights, others = RandomWeights(CONFIG), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, gguf = folder / "model.pxi", folder / "model.gguf"
        say(f"this processor is {processor()}")
        say(f"building {weights.matrices / 1e6:.0f} MB of weights")
        save_image(build_llama(CONFIG, weights), path, layout="mappable")
        if lacking := missing():
            say(lacking)
        else:
            write_gguf(gguf, weights)
            others = peers(gguf, CONTEXT, given.llama, say)
        ours = Ours(resize_context(path, CONTEXT, prompt=PROMPT))
        ours.fill(FAR)
        try:
            say(speed(ours, others, 3 if given.quick else 7, say))
            say(facts(folder, path, gguf, others, weights.matrices, given.quick))
        finally:
            for peer in others:
                peer.close()


if __name__ == "__main__":
    main(sys.argv[1:])
