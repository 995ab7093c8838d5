"""A SmolLM2-shaped network, random weights: decoding and prompts beside llama.cpp, and its size.

Run: ``python -m benchmarks.decode [--quick]``. The peer is ``llama-cpp-python`` with ``gguf``, the
extra ``bench``; without it there are only our own figures. Both take turns, A B A B, and a ratio is
the median of the ratios of neighbours. On a busy machine the clock says little: processor time,
which one thread alone can be judged by, stands beside it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

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


class Peer:
    """llama.cpp through its C interface: two contexts, one of them filled."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        self.api = llama_cpp
        self.model = load_peer(path)
        self.contexts = {at: self._context() for at in (0, FAR)}

    def _context(self) -> Any:
        wanted = self.api.llama_context_default_params()
        wanted.n_ctx, wanted.n_batch, wanted.n_ubatch = CONTEXT, PROMPT, PROMPT
        return self.api.llama_init_from_model(self.model, wanted)

    def feed(self, at: int, ids: list[int]) -> int:
        """Take tokens in; the most likely next one."""
        context = self.contexts[at]
        array = (self.api.llama_token * len(ids))(*ids)
        batch = self.api.llama_batch_get_one(array, len(ids))
        if self.api.llama_decode(context, batch):
            raise RuntimeError("llama_decode failed")
        logits = self.api.llama_get_logits_ith(context, -1)
        return int(np.ctypeslib.as_array(logits, (CONFIG.vocab,)).argmax())

    def fill(self, position: int) -> None:
        for first in range(0, position, PROMPT):
            self.feed(FAR, tokens(min(PROMPT, position - first)))

    def decode(self, position: int, threads: int) -> None:
        self._place(position, threads)
        token = tokens(1)[0]
        for _ in range(STEPS):
            token = self.feed(position, [token])

    def prompt(self, threads: int) -> None:
        self._place(0, threads)
        self.feed(0, tokens(PROMPT))

    def _place(self, position: int, threads: int) -> None:
        context = self.contexts[position]
        self.api.llama_set_n_threads(context, threads, threads)
        self.api.llama_memory_seq_rm(self.api.llama_get_memory(context), 0, position, -1)


def tokens(count: int) -> list[int]:
    """Random tokens, the same every time."""
    return [int(t) for t in np.random.default_rng(count).integers(0, CONFIG.vocab, count)]


def load_peer(path: Path) -> Any:
    """llama.cpp's model of a file, quietly."""
    import llama_cpp

    @llama_cpp.llama_log_callback
    def quiet(level: int, text: bytes, data: Any) -> None:
        if level == 4:  # errors; 5 continues a line
            sys.stderr.write(text.decode(errors="replace"))

    load_peer.kept = quiet  # type: ignore[attr-defined]
    llama_cpp.llama_log_set(quiet, None)
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(
        str(path).encode(), llama_cpp.llama_model_default_params()
    )
    if not model:
        raise RuntimeError(f"llama.cpp cannot load {path}")
    return model


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


def speed(ours: Ours, peer: Peer | None, rounds: int) -> Table:
    """Tokens a second, ours and the peer's in turns."""
    load = os.getloadavg()[0]
    table = Table(title=f"Tokens a second (machine's load before: {load:.1f})")
    for column in ("what", "threads", "time by", "pxvm", "llama.cpp", "ratio", "goal"):
        table.add_column(column, justify="left" if column in ("what", "time by") else "right")
    kinds = [("decode", 0), ("decode", FAR), ("prompt", 0)]
    taken: dict[Any, list[tuple[float, float]]] = {}
    for round_ in range(rounds + 1):
        for threads in THREADS:
            for what, at in kinds:
                for name, side in (("ours", ours), ("peer", peer)):
                    if side is None:
                        continue
                    action = (
                        (lambda s=side, a=at, n=threads: s.decode(a, n))
                        if what == "decode"
                        else (lambda s=side, n=threads: s.prompt(n))
                    )
                    seconds = timed(action)
                    if round_:  # the first only warms
                        taken.setdefault((what, at, threads, name), []).append(seconds)
    for what, at in kinds:
        for threads in THREADS:
            count = STEPS if what == "decode" else PROMPT
            goal = f"{GOALS['decode']}x" if what == "decode" else f"{GOALS['prompt']:.0f}"
            shown = f"decode after {at}" if what == "decode" else f"prompt of {PROMPT}"
            for clock, by in enumerate(("clock", "processor")[: 1 + (threads == 1)]):
                a = [t[clock] for t in taken[what, at, threads, "ours"]]
                b = [t[clock] for t in taken.get((what, at, threads, "peer"), [])]
                cells = [f"{count / statistics.median(a):.0f}", "", ""]
                if b:
                    ratio = statistics.median(y / x for x, y in zip(a, b, strict=True))
                    cells[1:] = [f"{count / statistics.median(b):.0f}", f"{ratio:.2f}"]
                table.add_row(shown, str(threads), by, *cells, goal if threads == 2 else "")
    return table


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


def opening(path: Path, gguf: Path | None) -> tuple[float, float | None]:
    """Seconds from a file to its first token, ours and the peer's, medians."""

    def first() -> None:
        image = resize_context(path, CONTEXT, prompt=PROMPT)
        set_tokens(image, [1])
        executors.executor("cpu").session(image, verify(image), max(THREADS)).run(None)

    def peer_first() -> None:
        assert gguf is not None
        peer = Peer.__new__(Peer)
        import llama_cpp

        peer.api, peer.model = llama_cpp, load_peer(gguf)
        peer.contexts = {0: peer._context()}
        llama_cpp.llama_set_n_threads(peer.contexts[0], max(THREADS), max(THREADS))
        peer.feed(0, [1])
        llama_cpp.llama_free(peer.contexts[0])
        llama_cpp.llama_model_free(peer.model)

    pairs = [(timed(first)[0], timed(peer_first)[0] if gguf else 0.0) for _ in range(4)][1:]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return ours, theirs if gguf else None


def peer_missing() -> str:
    """Empty, or why there is no peer."""
    try:
        import gguf  # noqa: F401
        import llama_cpp  # noqa: F401
    except ImportError as error:
        return f"no peer: {error.name} is not installed (pip install 'pxvm[bench]')"
    return ""


def facts(folder: Path, path: Path, gguf: Path | None, raw: int, quick: bool) -> Table:
    """Everything that is one number."""
    table = Table(title="Size, start, and the limit that memory sets")
    for column in ("what", "value", "goal"):
        table.add_column(column, justify="left" if column == "what" else "right")
    size = path.stat().st_size
    table.add_row(".pxi over raw int8 weights", f"{size / raw - 1:.2%}", "2%")
    if gguf:
        table.add_row("GGUF beside .pxi", f"{gguf.stat().st_size / size:.2f}", "")
    for threads in THREADS:
        rate = bandwidth(threads)
        table.add_row(
            f"read by {threads} threads: GB/s; weights once: ms, tok/s",
            f"{rate / 1e9:.1f}; {1e3 * raw / rate:.2f}, {rate / raw:.0f}",
            "",
        )
    ours, theirs = opening(path, gguf)
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


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    console = Console()
    weights = RandomWeights(CONFIG)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, gguf = folder / "model.pxi", folder / "model.gguf"
        console.print(f"building {weights.matrices / 1e6:.0f} MB of weights")
        save_image(build_llama(CONFIG, weights), path, layout="mappable")
        peer = None
        if missing := peer_missing():
            console.print(missing, markup=False)
        else:
            write_gguf(gguf, weights)
            peer = Peer(gguf)
            peer.fill(FAR)
        ours = Ours(resize_context(path, CONTEXT, prompt=PROMPT))
        ours.fill(FAR)
        console.print(speed(ours, peer, 3 if quick else 7))
        console.print(facts(folder, path, gguf if peer else None, weights.matrices, quick))


if __name__ == "__main__":
    main()
