"""A memory in a picture: the project's own documentation learned, asked, and shown.

The network stays in demo/knowledge.png: open it in an image viewer and read it. Run again, it has
nothing to learn. Passages are found by their words, and by meaning as well where the embedding
model is on this machine (``pxvm models get minilm``).
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.examples.common import DEMO, shown
from pxvm.learning import Network
from pxvm.learning.picture.picture import draw_hits
from pxvm.learning.search.embedding import Embedder
from pxvm.learning.search.words import asked
from pxvm.learning.sources.documents import read_documents
from pxvm.learning.sources.learn import Learned, learn
from pxvm.terminal import progress

DOCS = DEMO.parent / "docs"
NETWORK, PICTURE = DEMO / "knowledge.png", DEMO / "recall.png"
QUESTIONS = {
    "What does the verifier demand before a program may run?": "FORMAT.md",
    "How is a torn append told from a damaged record?": "KNOWLEDGE_FORMAT.md",
}


def main() -> int:
    """Learn, ask, draw; 1 when an answer comes from another page than it should."""
    DEMO.mkdir(exist_ok=True)
    embedder = Embedder.present()
    with Network.open(NETWORK) as network:
        start = perf_counter()
        documents = read_documents([DOCS], NETWORK)
        with progress("learning, passages stored") as update:
            events = list(
                learn(network, documents, embedder=embedder, committed=lambda n: update(n, 0))
            )
        done = [event for event in events if isinstance(event, Learned)]
        added, known = sum(e.added for e in done), sum(e.known for e in done)
        vectors = f"with vectors of {embedder.name}" if embedder else "without vectors"
        print(f"learned {len(done)} pages of documentation in {perf_counter() - start:.1f} s:")
        print(f"  {added} passages stored {vectors}, {known} known already")
        found = network.stats()
        each = found["bytes"] / max(found["records"], 1)
        print(f"  {shown(NETWORK)}: {found['rows']:,} rows, {each:,.0f} bytes a passage with its"
              " picture")  # fmt: skip
        hits, right = [], True
        for question, page in QUESTIONS.items():
            start = perf_counter()
            best = network.search(question, 3)
            print(f"{question} ({(perf_counter() - start) * 1e3:.0f} ms)")
            for hit in best:
                print(f"  {hit.score:.2f}  record {hit.record.sequence}: {hit.record.query}")
            right = right and any(hit.record.source.endswith(page) for hit in best)
            hits += best[:2]
        words = asked(" ".join(QUESTIONS))
        draw_hits(network, hits, words).save(PICTURE)
    print(f"wrote {shown(PICTURE)}, the passages framed where they stand in the network")
    if not right:
        print("WRONG: an answer is not on the page that has it", file=sys.stderr)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
