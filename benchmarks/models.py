"""SmolLM2 and MiniLM from their pictures, beside llama.cpp and ONNX Runtime on the same weights.

Run: ``python -m benchmarks.models [--quick] [--llama FOLDER]``. Both models are fetched as their
authors published them and imported. The peers are the extra ``bench``; of several builds of
llama.cpp (see ``_llama``) the faster one counts. Everything that is timed is taken in turns, ours
and theirs, and a ratio is the median of the ratios of neighbours. A text that was used for nothing
else measures perplexity (``texts/varied.txt``).
"""

from __future__ import annotations

import importlib.util
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

from benchmarks._llama import Peer, PeerError, missing, peers
from benchmarks._minilm import Runtime, quantise_onnx, write_onnx
from benchmarks._parts import parser
from benchmarks.decode import REST, timed
from pxvm.core.errors import PxvmError
from pxvm.models.download import fetch
from pxvm.models.families.checkpoint import open_checkpoint
from pxvm.models.families.llama import set_tokens
from pxvm.models.generation import Sampling
from pxvm.models.importing.importer import import_model
from pxvm.models.model import Model

TEXT = Path(__file__).resolve().parent / "texts/varied.txt"
THREADS = 2
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
        peer.call("place", 0)
        theirs = peer.call("feed", ids)
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
            theirs = peer.call("feed", [token])
        lengths.append(common)
    return lengths, agreed, parted


def script(source: str, path: Path) -> float:
    """The number that a new process prints."""
    root = str(Path(__file__).resolve().parents[1])
    code = source.format(root=root, path=str(path))
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def chat_model(console: Console, folder: Path, rounds: int, libraries: Sequence[Path]) -> None:
    """The tables of SmolLM2. Raises PeerError where no build of llama.cpp runs."""
    gguf = fetch("smollm2", folder, lambda *_: None)
    path = folder / "smollm2.pxi"
    seconds, _ = timed(lambda: import_model(gguf, path))
    console.print(f"imported in {seconds:.1f} s")

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False)

    others = peers(gguf, CONTEXT, libraries, say)
    for peer in others:
        peer.call("threads", THREADS)
    try:
        peer = faster(others, say)
        console.print(sizes(gguf, path, peer, rounds))
        model = Model.open(path, threads=THREADS, context=CONTEXT)
        console.print(speed(model, peer, rounds))
        console.print(quality(model, peer))
        lengths, whole, parted = answers(model, peer)
    finally:
        for peer in others:
            peer.close()
    console.print(f"greedy answers of up to {ANSWER} tokens: {whole} of {len(lengths)} the same")
    console.print(f"tokens in common: {lengths}; where answers part, the two candidates' logits:")
    for line in parted:
        say(line)


def faster(others: Sequence[Peer], say: Callable[[str], object]) -> Peer:
    """The build that decodes and takes a prompt fastest; one that dies on the way is said."""
    found = {}
    for peer in others:
        try:
            work = [("take", 0, random_tokens(PROMPT)), ("decode", 0, 1, STEPS)]
            runs = [sum(peer.timed(*task)[0] for task in work) for _ in range(3)]
            found[peer.name] = (min(runs[1:]), peer)
            say(f"{peer.name}: {min(runs[1:]):.3f} s for a prompt of {PROMPT} and {STEPS} tokens")
        except PeerError as error:
            say(f"left out: {error}")
    if not found:
        raise PeerError("no build of llama.cpp runs here")
    return min(found.values(), key=lambda item: item[0])[1]


def table_of(title: str) -> Table:
    table = Table(title=f"{title}, {THREADS} threads (load {os.getloadavg()[0]:.1f})")
    for column in ("what", "pxvm", "llama.cpp", "ratio", "aim"):
        table.add_column(column, justify="left" if column == "what" else "right")
    return table


def sizes(gguf: Path, path: Path, peer: Peer, rounds: int) -> Table:
    """Bytes, start, memory."""
    table, size = table_of("SmolLM2-135M: size and start"), path.stat().st_size
    parameters = open_checkpoint(gguf).parameters
    each = (f"{p.stat().st_size / parameters:.3f}" for p in (path, gguf))
    table.add_row("bytes a parameter", *each, "", "0.65")
    (ours, _), (theirs, ratio) = in_turns(
        lambda: next(iter(Model.open(path, threads=THREADS).generate("The", stream=True))),
        lambda: peer.call("first", 504, THREADS), rounds=rounds,
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
        ("decode", lambda: decode(model, 0), lambda: peer.call("decode", 0, 1, STEPS), STEPS, "2x"),
        (f"decode after {FAR}", lambda: decode(model, FAR),
         lambda: peer.call("decode", FAR, 1, STEPS), STEPS, "1.5x"),
        (f"prompt of {PROMPT}", lambda: prompt(model),
         lambda: peer.call("take", 0, random_tokens(PROMPT)), PROMPT, "2x"),
    )  # fmt: skip
    for name, ours, theirs, count, aim in kinds:
        if "after" in name:
            place(model, 0)
            model.generator.feed(random_tokens(FAR), answer=False)
            peer.call("take", 0, random_tokens(FAR))
        (a, _), (b, ratio) = in_turns(ours, theirs, rounds=rounds)
        table.add_row(name, f"{count / a:.0f}", f"{count / b:.0f}", f"{ratio:.2f}", aim)
    return table


def quality(model: Model, peer: Peer) -> Table:
    """Perplexity of the varied text, each token given all before it."""
    table, text = table_of("SmolLM2-135M: quality"), TEXT.read_text(encoding="utf-8")
    total, count = model.score(text)
    theirs = peer.call("loss", model.tokenizer.encode(text))
    a, b = (np.exp(x / count) for x in (total, theirs))
    name = f"perplexity over {count} tokens"
    table.add_row(name, f"{a:.3f}", f"{b:.3f}", f"{a / b:.4f}", "1.005")
    return table


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


def main(arguments: Sequence[str] = ()) -> None:
    """Print both tables."""
    reads = parser(__doc__)
    reads.add_argument("--quick", action="store_true")
    reads.add_argument("--llama", action="append", default=[], type=Path, metavar="FOLDER")
    given = reads.parse_args(arguments)
    console, rounds = Console(width=120), 3 if given.quick else 7
    parts = {
        missing: lambda folder: chat_model(console, folder, rounds, given.llama),
        without_onnx: lambda folder: embedder(console, folder, rounds),
    }
    for lacks, part in parts.items():
        if lacking := lacks():
            print(lacking)
            continue
        with tempfile.TemporaryDirectory() as name:
            try:
                part(Path(name))
            except (PxvmError, PeerError) as error:
                print(f"left out: {error}")


def without_onnx() -> str:
    """Empty, or why the embedder has no peer."""
    for name in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            return f"no peer: {name} is not installed (pip install 'pxvm[bench]')"
    return ""


if __name__ == "__main__":
    main(sys.argv[1:])
