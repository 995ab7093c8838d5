"""The peers' own tests: llama.cpp's vocabularies with their expected tokens, ONNX's node tests.

Run: ``python -m benchmarks.coverage [FOLDER]``, where FOLDER holds llama.cpp's ``models``: files
``ggml-vocab-*.gguf`` with ``.inp`` and ``.out`` beside them. Without one they are taken out of the
source distribution of llama-cpp-python. Each case is matched, or refused by name; a wrong answer
that comes without a word is printed, and the exit status is 1.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from onnx.backend.test.case import node

from pxvm.core.errors import FormatError
from pxvm.models.files.parts import open_gguf_parts
from pxvm.models.text.gguf_vocabulary import from_gguf
from pxvm.models.text.tokenizer import Tokenizer
from tests.models.test_onnx_backend import tried, variants

BETWEEN = "\n__ggml_vocab_test__\n"
SDIST = ("download", "--no-deps", "--no-binary", "llama-cpp-python", "--quiet", "--dest")


def main(folder: Path | None = None) -> int:
    """Print what matches, what is refused and why, and what is wrong."""
    with tempfile.TemporaryDirectory() as place:
        wrong = vocabularies(folder or fetched(Path(place))) + nodes(Path(place))
    print(f"{wrong} wrong answers in silence")
    return int(wrong > 0)


def fetched(place: Path) -> Path:
    """llama.cpp's vocabularies, out of the source distribution that carries them."""
    command = [sys.executable, "-m", "pip", *SDIST, str(place), "llama-cpp-python"]
    subprocess.run(command, check=True)
    (sdist,) = place.glob("llama_cpp_python-*.tar.gz")
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            name = Path(member.name)
            if member.isfile() and name.name.startswith("ggml-vocab-"):
                stream = archive.extractfile(member)
                assert stream is not None
                (place / name.name).write_bytes(stream.read())
    return place


def vocabularies(folder: Path) -> int:
    """Each vocabulary's texts; returns how many texts get other tokens."""
    wrong = 0
    for wanted in sorted(folder.glob("ggml-vocab-*.gguf.out")):
        path = wanted.with_suffix("")
        metadata = open_gguf_parts(path).metadata
        count = len(metadata["tokenizer.ggml.tokens"])
        try:
            found = from_gguf(metadata, count, path.name)
            assert found is not None
            tokenizer = Tokenizer(*found, path.name, count)
        except FormatError as error:
            print(f"{path.stem}: refused: {error!s:.160}")
            continue
        texts = path.with_suffix(".gguf.inp").read_text(encoding="utf-8").split(BETWEEN)
        lines = wanted.read_text().splitlines()
        other = [
            text for text, line in zip(texts, lines, strict=False)
            if tokenizer.encode(text, special=False) != [int(token) for token in line.split()]
        ]  # fmt: skip
        wrong += len(other)
        print(f"{path.stem}: {len(lines) - len(other)} of {len(lines)} texts match")
        for text in other:
            print(f"  wrong: {text!r:.70}")
    return wrong


def _cases() -> Iterator[node.TestCase]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from node.collect_testcases(None)


def nodes(folder: Path) -> int:
    """ONNX's cases, with all inputs given or one of them; returns how many are wrong."""
    counts: Counter[str] = Counter()
    for case in _cases():
        if case.name.endswith("_expanded"):
            continue
        for given in variants(case.model):
            try:
                right = tried(case, given, folder)
            except AssertionError:
                counts["wrong"] += 1
                print(f"  wrong: {case.name} with {', '.join(sorted(given))} given")
            else:
                counts["right" if right else "refused"] += 1
    print(", ".join(f"{count} of ONNX's cases {what}" for what, count in counts.items()))
    return counts["wrong"]


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
