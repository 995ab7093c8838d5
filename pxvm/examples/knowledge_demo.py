"""A memory in a picture: the beginning of a novel learned, asked, and shown.

What is learned of the first chapters of Pride and Prejudice stays in demo/knowledge.png: open it
in an image viewer and read it. Run again, it has nothing to learn. Passages are found by their
words, and by meaning as well where the embedding model is on this machine (``pxvm models get
minilm``).
"""

from __future__ import annotations

import bz2
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.examples.common import DEMO, command_line, shown
from pxvm.examples.pixellm_text import CHAPTER, CORPUS
from pxvm.learning import Network
from pxvm.learning.picture.picture import draw_hits
from pxvm.learning.search.embedding import Embedder
from pxvm.learning.search.ranking import Hit
from pxvm.learning.search.words import asked
from pxvm.learning.sources.documents import Document, read_content
from pxvm.learning.sources.learn import Learned, learn
from pxvm.terminal import progress

CHAPTERS = 6
NETWORK, PICTURE = DEMO / "knowledge.png", DEMO / "recall.png"
# Question -> words of the novel that answer it.
QUESTIONS = {
    "Which guest at the ball has ten thousand a year?": "ten thousand a year",
    "Which lady was not handsome enough to tempt Mr. Darcy to dance?": (
        "not handsome enough to tempt me"
    ),
}


def chapters() -> Iterator[Document]:
    """The first chapters of the novel, as documents."""
    text = bz2.decompress(CORPUS.read_bytes()).decode("ascii")
    for chapter in text.split(CHAPTER)[1 : CHAPTERS + 1]:
        title, body = chapter.split("\n", 1)
        yield read_content(body.replace("\n", "\n\n").encode(), title, title)


def tell_learned(network: Network) -> None:
    """Learn the chapters and print what that came to."""
    embedder = Embedder.present()
    start = perf_counter()
    with progress("learning, passages stored") as update:
        events = list(learn(network, chapters(), embedder=embedder, committed=update))
    done = [event for event in events if isinstance(event, Learned)]
    added, known = sum(e.added for e in done), sum(e.known for e in done)
    vectors = f"with vectors of {embedder.name}" if embedder else "without vectors"
    print(f"learned {len(done)} chapters of a novel in {perf_counter() - start:.1f} s:")
    print(f"  {added} passages stored {vectors}, {known} known already")
    found = network.stats()
    each = found["bytes"] / max(found["records"], 1)
    print(
        f"  {shown(NETWORK)}: {found['rows']:,} rows, {each:,.0f} bytes a passage with its picture"
    )


def ask(network: Network, question: str, answer: str) -> tuple[list[Hit], bool]:
    """Print the best passages, around the answer where they have it: (they, whether one has it)."""
    start = perf_counter()
    hits = network.search(question, 3)
    print(f"{question} ({(perf_counter() - start) * 1e3:.0f} ms)")
    answered = False
    for hit in hits:
        text = " ".join(hit.record.answer.split())
        at = text.find(answer)
        answered |= at >= 0
        quote = text[max(0, at - 60) : at + len(answer) + 30] if at >= 0 else text[:90]
        print(f"  {hit.score:.2f}  {hit.record.source}: ...{quote}...")
    return hits, answered


def main() -> int:
    """Learn, ask, draw; 1 when a question finds no passage that answers it."""
    DEMO.mkdir(parents=True, exist_ok=True)
    shown_hits: list[Hit] = []
    missed = []
    with Network.open(NETWORK) as network:
        tell_learned(network)
        for question, answer in QUESTIONS.items():
            hits, answered = ask(network, question, answer)
            shown_hits += hits[:1]
            missed += [] if answered else [question]
        telling = [word for question in QUESTIONS for word in asked(question)]
        draw_hits(network, shown_hits, telling).save(PICTURE)
    print(f"wrote {shown(PICTURE)}, the passages framed where they stand in the network")
    for question in missed:
        print(f"WRONG: no passage that was found answers {question!r}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    sys.exit(main())
