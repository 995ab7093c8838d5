"""SmolLM2 and MiniLM from their pictures, beside llama.cpp and ONNX Runtime on the same weights.

Run: ``python -m benchmarks.models [--quick]``. Both models are fetched as their authors published
them and imported. The peers are the extra ``bench``. Everything that is timed is taken in turns,
ours and theirs, and a ratio is the median of the ratios of neighbours. A text that was used for
nothing else measures perplexity (``texts/varied.txt``).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks._minilm import Runtime, quantise_onnx, write_onnx
from benchmarks.decode import load_peer, timed
from pxvm.core.errors import PxvmError
from pxvm.models.download import fetch
from pxvm.models.families.checkpoint import open_checkpoint
from pxvm.models.families.llama import set_tokens
from pxvm.models.generation import Sampling
from pxvm.models.importing.importer import import_model
from pxvm.models.model import Model

TEXT = Path(__file__).resolve().parent / "texts/varied.txt"
THREADS = 2
REST = 0.2  # seconds before each timing, until the other engine's idle threads stop spinning
CONTEXT, PROMPT, FAR, STEPS, ANSWER = 4096, 512, 1000, 16, 48
QUESTIONS = (
    "What is the capital of France?", "Name three colours.", "Write a haiku about the sea.",
    "Why is the sky blue?", "What is 12 times 12?", "Explain photosynthesis in one sentence.",
    "Give me a recipe for pancakes.", "What does a compiler do?", "Who wrote Hamlet?",
    "Translate 'good morning' into Spanish.", "List the planets of the solar system.",
    "Write a Python function that adds two numbers.", "What is a prime number?",
    "How do I boil an egg?", "What causes rain?", "Tell me a short story about a dog.",
    "What is the largest ocean?", "How many days are in a leap year?", "Define entropy.",
    "Suggest a name for a cat.",
)  # fmt: skip
MEMORY = """
import sys
sys.path.insert(0, {root!r})
from pxvm import Model
model = Model.open({path!r}, threads=2)
model.chat([{{"role": "user", "content": "Tell me a story."}}], max_tokens=64)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
START = """
import sys, time
sys.path.insert(0, {root!r})
start = time.perf_counter()
from pxvm import Model
next(iter(Model.open({path!r}, threads=2).generate("The", stream=True, max_tokens=1)))
print(time.perf_counter() - start)
"""


class Peer:
    """llama.cpp through its C interface, one context."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        self.api, self.model = llama_cpp, load_peer(path)
        wanted = llama_cpp.llama_context_default_params()
        wanted.n_ctx, wanted.n_batch, wanted.n_ubatch = CONTEXT, CONTEXT, PROMPT
        self.context = llama_cpp.llama_init_from_model(self.model, wanted)
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.vocab = llama_cpp.llama_vocab_n_tokens(self.vocabulary)
        llama_cpp.llama_set_n_threads(self.context, THREADS, THREADS)

    def place(self, position: int) -> None:
        """Forget what stands from a position on."""
        memory = self.api.llama_get_memory(self.context)
        self.api.llama_memory_seq_rm(memory, 0, position, -1)

    def feed(self, ids: Sequence[int]) -> Any:
        """Take tokens in; the logits behind the last one."""
        array = (self.api.llama_token * len(ids))(*ids)
        if self.api.llama_decode(self.context, self.api.llama_batch_get_one(array, len(ids))):
            raise RuntimeError("llama_decode failed")
        row = self.api.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(row, (self.vocab,))

    def loss(self, ids: Sequence[int]) -> float:
        """Negative log-likelihood in nats of all tokens but the first."""
        self.place(0)
        batch = self.api.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.logits[i] = token, i, 1
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        if self.api.llama_decode(self.context, batch):
            raise RuntimeError("llama_decode failed")
        total = 0.0
        for i, target in enumerate(ids[1:]):
            row = self.api.llama_get_logits_ith(self.context, i)
            total += loss(np.ctypeslib.as_array(row, (self.vocab,)), target)
        self.api.llama_batch_free(batch)
        return total

    def decode(self, position: int) -> None:
        self.place(position)
        token = 1
        for _ in range(STEPS):
            token = int(self.feed([token]).argmax())

    def prompt(self) -> None:
        self.place(0)
        self.feed(random_tokens(PROMPT))

    def close(self) -> None:
        self.api.llama_free(self.context)
        self.api.llama_model_free(self.model)


def loss(logits: Any, target: int) -> float:
    """Negative log-likelihood of a token."""
    real = np.asarray(logits, np.float64)
    return float(np.log(np.exp(real - real.max()).sum()) + real.max() - real[target])


def random_tokens(count: int) -> list[int]:
    """Tokens, the same every time."""
    return [int(t) for t in np.random.default_rng(count).integers(0, 49152, count)]


def place(model: Model, position: int) -> None:
    """Stand at a position, whatever the caches hold there."""
    for name in ("output_length", "history_length", "masked"):
        model.fields[name] = 0
    model.fields["position"] = position


def decode(model: Model, position: int) -> None:
    place(model, position)
    set_tokens(model.fields, [1])
    for _ in range(STEPS):
        model.generator.run()


def prompt(model: Model) -> None:
    place(model, 0)
    set_tokens(model.fields, random_tokens(PROMPT))
    model.generator.run()


def in_turns(
    ours: Callable[[], object], *others: Callable[[], object], rounds: int
) -> list[tuple[float, float]]:
    """(median seconds, median of their seconds over ours of the same round) of each."""
    taken = [[timed(f, rest=REST)[0] for f in (ours, *others)] for _ in range(rounds + 1)][1:]
    columns = zip(*taken, strict=True)
    return [
        (
            statistics.median(c),
            statistics.median(t / row[0] for t, row in zip(c, taken, strict=True)),
        )
        for c in columns
    ]


def answers(model: Model, peer: Peer) -> tuple[list[int], int, list[str]]:
    """Greedy answers side by side: lengths in common, how many agree to the end, partings."""
    lengths, agreed, parted = [], 0, []
    for number, question in enumerate(QUESTIONS):
        talk = [{"role": "user", "content": question}]
        ids = model.tokenizer.encode(model.tokenizer.render(talk), special=False)
        peer.place(0)
        theirs = peer.feed(ids)
        common = 0
        for token in model.generator.answer(ids, Sampling()):
            other = int(theirs.argmax())
            if token != other:
                mine = model.fields.real("logits")[0]
                parted.append(
                    f"{number}: after {common} tokens"
                    f" {model.tokenizer.decode([token])!r} {mine[token]:.2f}:{mine[other]:.2f},"
                    f" llama.cpp {model.tokenizer.decode([other])!r}"
                    f" {theirs[other]:.2f}:{theirs[token]:.2f}"
                )
                break
            common += 1
            if token in model.tokenizer.settings.stops or common == ANSWER:
                agreed += 1
                break
            theirs = peer.feed([token])
        lengths.append(common)
    return lengths, agreed, parted


def script(source: str, path: Path) -> float:
    """The number that a new process prints."""
    root = str(Path(__file__).resolve().parents[1])
    code = source.format(root=root, path=str(path))
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def chat_model(console: Console, folder: Path, rounds: int) -> None:
    """The tables of SmolLM2."""
    gguf = fetch("smollm2", folder, lambda *_: None)
    path = folder / "smollm2.pxi"
    seconds, _ = timed(lambda: import_model(gguf, path))
    console.print(f"imported in {seconds:.1f} s")
    console.print(sizes(gguf, path, rounds))
    peer, model = Peer(gguf), Model.open(path, threads=THREADS, context=CONTEXT)
    console.print(speed(model, peer, rounds))
    console.print(quality(model, peer))
    lengths, whole, parted = answers(model, peer)
    console.print(f"greedy answers of up to {ANSWER} tokens: {whole} of {len(lengths)} the same")
    console.print(f"tokens in common: {lengths}; where answers part, the two candidates' logits:")
    for line in parted:
        console.print(line, markup=False, highlight=False)
    peer.close()


def table_of(title: str) -> Table:
    table = Table(title=f"{title}, {THREADS} threads (load {os.getloadavg()[0]:.1f})")
    for column in ("what", "pxvm", "llama.cpp", "ratio", "aim"):
        table.add_column(column, justify="left" if column == "what" else "right")
    return table


def sizes(gguf: Path, path: Path, rounds: int) -> Table:
    """Bytes, start, memory."""
    table, size = table_of("SmolLM2-135M: size and start"), path.stat().st_size
    parameters = open_checkpoint(gguf).parameters
    each = (f"{p.stat().st_size / parameters:.3f}" for p in (path, gguf))
    table.add_row("bytes a parameter", *each, "", "0.65")
    (ours, _), (theirs, ratio) = in_turns(
        lambda: next(iter(Model.open(path, threads=THREADS).generate("The", stream=True))),
        lambda: _first(gguf), rounds=rounds,
    )  # fmt: skip
    table.add_row("open to first token, s", f"{ours:.3f}", f"{theirs:.3f}", f"{ratio:.2f}", "1x")
    table.add_row("the same, new process, s", f"{script(START, path):.2f}", "", "", "")
    peak = script(MEMORY, path) * 1024
    table.add_row("peak memory over the file, MB", f"{(peak - size) / 1e6:.0f}", "", "", "150")
    return table


def speed(model: Model, peer: Peer, rounds: int) -> Table:
    """Tokens a second."""
    table = table_of("SmolLM2-135M: tokens a second")
    kinds = (
        ("decode", lambda: decode(model, 0), lambda: peer.decode(0), STEPS, "2x"),
        (f"decode after {FAR}", lambda: decode(model, FAR), lambda: peer.decode(FAR), STEPS,
         "1.5x"),
        (f"prompt of {PROMPT}", lambda: prompt(model), peer.prompt, PROMPT, "2x"),
    )  # fmt: skip
    for name, ours, theirs, count, aim in kinds:
        if "after" in name:
            place(model, 0)
            model.generator.feed(random_tokens(FAR), answer=False)
            peer.place(0)
            peer.feed(random_tokens(FAR))
        (a, _), (b, ratio) = in_turns(ours, theirs, rounds=rounds)
        table.add_row(name, f"{count / a:.0f}", f"{count / b:.0f}", f"{ratio:.2f}", aim)
    return table


def quality(model: Model, peer: Peer) -> Table:
    """Perplexity of the varied text, each token given all before it."""
    table, text = table_of("SmolLM2-135M: quality"), TEXT.read_text(encoding="utf-8")
    total, count = model.score(text)
    a, b = (np.exp(x / count) for x in (total, peer.loss(model.tokenizer.encode(text))))
    name = f"perplexity over {count} tokens"
    table.add_row(name, f"{a:.3f}", f"{b:.3f}", f"{a / b:.4f}", "1.005")
    return table


def _first(path: Path) -> None:
    peer = Peer(path)
    peer.feed([504])
    peer.close()


def sentences(count: int) -> list[str]:
    """Texts of 3 to 60 words from the varied text and the documents."""
    root = Path(__file__).resolve().parents[1]
    words = " ".join(
        p.read_text(encoding="utf-8") for p in (TEXT, *sorted(root.glob("docs/*.md")))
    ).split()
    rng = np.random.default_rng(4)
    sizes = np.exp(rng.uniform(np.log(3), np.log(60), count)).astype(int)
    starts = rng.integers(0, len(words) - 60, count)
    return [" ".join(words[s : s + n]) for s, n in zip(starts, sizes, strict=True)]


def ranks(values: Any) -> Any:
    order = np.empty(len(values))
    order[np.argsort(values)] = np.arange(len(values))
    return order


def embedder(console: Console, folder: Path, rounds: int) -> None:
    """The table of MiniLM."""
    source = fetch("minilm", folder, lambda *_: None)
    path, floats, int8 = folder / "minilm.pxi", folder / "f.onnx", folder / "i.onnx"
    import_model(source, path)
    checkpoint = open_checkpoint(source)
    write_onnx(floats, checkpoint.config, checkpoint.weights)  # type: ignore[arg-type]
    quantise_onnx(floats, int8)
    model = Model.open(path, threads=THREADS)
    limit = model.tokenizer.settings.limit or 256
    peers = [Runtime(p, lambda t: model.tokenizer.encode_all(t, limit), THREADS)
             for p in (floats, int8)]  # fmt: skip
    texts = sentences(500)
    table = Table(title=f"MiniLM, {THREADS} threads (load {os.getloadavg()[0]:.1f})")
    for column in ("what", "pxvm", "ORT float32", "ORT int8", "over float32", "over int8", "aim"):
        table.add_column(column, justify="left" if column == "what" else "right")
    table.add_row("bytes a parameter", f"{path.stat().st_size / checkpoint.parameters:.3f}",
                  *(f"{p.stat().st_size / checkpoint.parameters:.3f}" for p in (floats, int8)),
                  "", "", "1.05")  # fmt: skip
    for batch in (1, 32):
        some = texts[: 32 if batch == 1 else 128]
        runs = [
            lambda e=e, n=batch, s=some: [e.embed(s[i : i + n]) for i in range(0, len(s), n)]
            for e in (model, *peers)
        ]
        found = in_turns(*runs, rounds=rounds)
        rates = [f"{len(some) / seconds:.0f}" for seconds, _ in found]
        ratios = [f"{ratio:.2f}" for _, ratio in found[1:]]
        table.add_row(f"sentences/s, batch {batch}", *rates, *ratios, "1.5x, 1.5x")
    vectors = [np.asarray(e.embed(texts), np.float64) for e in (model, *peers)]
    vectors = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    worst = [f"{(vectors[1] * v).sum(axis=1).min():.4f}" for v in vectors]
    table.add_row("worst cosine to float32 of 500", *worst, "", "", "0.995")
    upper = np.triu_indices(len(texts), 1)
    order = [ranks((v @ v.T)[upper]) for v in vectors]
    rank = [f"{np.corrcoef(order[1], o)[0, 1]:.4f}" for o in order]
    table.add_row("Spearman of pairwise likeness", *rank, "", "", "0.995")
    console.print(table)


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    console, rounds = Console(width=120), 3 if quick else 7
    try:
        import llama_cpp  # noqa: F401
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        print(f"no peer: {error.name} is not installed (pip install 'pxvm[bench]')")
        return
    for part in (chat_model, embedder):
        with tempfile.TemporaryDirectory() as name:
            try:
                part(console, Path(name), rounds)
            except PxvmError as error:
                print(f"left out: {error}")


if __name__ == "__main__":
    main()
