"""Two real models, each one PNG: a chat model that answers, an embedder that ranks sentences.

The models are fetched once (177 MB) and kept in the user's cache; without a connection, or without
the packages of the extra models, this example says so and is skipped. The answer is saved in the
middle as a picture and finished by the other executor, in the same words: exits with 1 when they
differ.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.core.container import open_image
from pxvm.core.errors import DeviceError, MissingPackageError, PxvmError
from pxvm.core.installation import library
from pxvm.examples.common import DEMO, command_line, shown
from pxvm.models.download import DownloadError, get
from pxvm.models.model import Model
from pxvm.visual.view import render_view

EXTRA = ("tokenizers", "jinja2")  # what a tokenizer and a chat template need
QUESTION = "What is the capital of France? Answer in one sentence."
WORDS, ELSEWHERE = 24, 3  # tokens of the answer; of those, drawn by the reference executor
QUERY = "Where does my pet sleep?"
SENTENCES = (
    "The cat has made its bed in the laundry basket.",
    "Shares of the bank fell by four percent on Monday.",
    "Our dog naps on the sofa all afternoon.",
    "Water boils at a lower temperature in the mountains.",
)


def show_picture(path: Path) -> None:
    """A labelled view of a model's picture in demo/."""
    view = DEMO / f"{path.stem.split('-')[0]}.view.png"
    view.parent.mkdir(parents=True, exist_ok=True)
    image = open_image(path)
    render_view(image, path.stem).save(view)
    height, width = image.shape[:2]
    size = path.stat().st_size / 1e6
    print(f"{path}: {width} x {height} pixels, {size:.0f} MB; wrote {shown(view)}")


def answer(path: Path) -> int:
    """Ask, save in the middle, finish elsewhere; returns the exit status."""
    model = Model.open(path)
    question = [{"role": "user", "content": QUESTION}]
    print(f"> {QUESTION}")
    start = time.perf_counter()
    whole = model.chat(question, max_tokens=WORDS)
    drawn = len(model.generator.drawn())
    print(f"{whole}\n({drawn} tokens in {time.perf_counter() - start:.1f} s, the prompt included)")
    half = max(1, drawn - ELSEWHERE)
    begun = model.chat(question, max_tokens=half)
    state = DEMO / "half.pxi"
    model.save_state(state)
    print(
        f"saved after {half} tokens as {shown(state)}, a picture; the reference executor goes on:"
    )
    rest = Model.resume(state, device="reference").proceed(max_tokens=WORDS)
    print(f"{begun}|{rest}")
    if begun + rest != whole:
        print(f"WRONG: expected {whole!r}", file=sys.stderr)
        return 1
    print("the same words")
    return 0


def rank(path: Path) -> None:
    """Sentences by their likeness to a question."""
    vectors = Model.open(path).embed([QUERY, *SENTENCES])
    likeness = vectors[1:] @ vectors[0]
    print(f"> {QUERY}")
    for number in (-likeness).argsort():
        print(f"  {likeness[number]:.3f}  {SENTENCES[number]}")


def main() -> int:
    """The chat model, then the embedder; returns the exit status."""
    try:
        for package in EXTRA:
            library(package, "models")
        chat, embedder = get("smollm2"), get("minilm")
    except (DownloadError, DeviceError, MissingPackageError) as error:
        print(f"skipped: {error}")
        return 0
    for path in (chat, embedder):
        show_picture(path)
    status = answer(chat)
    rank(embedder)
    return status


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    try:
        sys.exit(main())
    except PxvmError as error:
        sys.exit(str(error))
