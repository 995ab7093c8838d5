"""A model that remembers: asked what it cannot know, taught, and asked again in other words.

SmolLM2 answers from its PNG, and what it is taught stays in demo/remembering.png; two views show
that picture before and after. Exits with 1 when the answer is not the one that was taught. Without
the model, which is fetched once, or the packages that it needs, it says so and is skipped.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.core.errors import MissingPackageError
from pxvm.core.installation import library
from pxvm.core.saving import replacing
from pxvm.examples.common import DEMO, command_line, shown
from pxvm.integration.conversation import Conversation
from pxvm.integration.demonstration import demonstrate
from pxvm.integration.embedded import Embedded
from pxvm.integration.lm_studio_bridge import AGAIN, FACT, QUESTION
from pxvm.integration.memory import Memory, note
from pxvm.learning.picture.picture import draw_page
from pxvm.models.download import DownloadError

NETWORK = DEMO / "remembering.png"
BEFORE, AFTER = DEMO / "remembering.before.png", DEMO / "remembering.after.png"
EARLIER = (
    "The ferry to Ostrand leaves at seven in the morning.",
    "Marta keeps the spare key of the workshop under the blue bench.",
    "The old crane at the quay was sold in spring.",
)
TAUGHT = ("green", "white")


def draw(memory: Memory, target: Path) -> None:
    """The memory's page as a picture."""
    with replacing(target) as stream:
        draw_page(memory.network).save(stream, format="PNG")
    print(f"wrote {shown(target)}")


def main() -> int:
    """Tell the story; the exit status."""
    try:
        for name in ("tokenizers", "jinja2"):
            library(name, "models")
        backend = Embedded("smollm2")
    except (DownloadError, MissingPackageError) as error:
        print(f"skipped: {error}")
        return 0
    DEMO.mkdir(parents=True, exist_ok=True)
    for old in [NETWORK, *DEMO.glob(f"{NETWORK.stem}.p*.png")]:
        old.unlink(missing_ok=True)
    memory = Memory(NETWORK)
    try:
        for text in EARLIER:
            memory.append(note(text)).result()
        draw(memory, BEFORE)
        talk = Conversation(backend, memory, learns=False)
        answer = demonstrate(talk, memory, QUESTION, note(FACT), AGAIN)
        draw(memory, AFTER)
    finally:
        memory.close()
        backend.close()
    if not all(word in answer.lower() for word in TAUGHT):
        print(f"WRONG: expected the colours {' and '.join(TAUGHT)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    sys.exit(main())
