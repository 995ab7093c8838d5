"""LM Studio, or any other language model, with a memory that is a picture.

>>> bridge = LMStudioPixelBridge("knowledge.png")
>>> answer = bridge.ask_lm_studio("How does X work?")
>>> bridge.append_interaction("How does X work?", answer)

As a program: ``python3 pxvm/integration/lm_studio_bridge.py --demo | --interactive``.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from types import TracebackType
from typing import TYPE_CHECKING, Any

from pxvm.integration.backends import ANY_MODEL, AUTO, LM_STUDIO, NAMES
from pxvm.integration.connecting import connect
from pxvm.integration.conversation import Conversation
from pxvm.integration.memory import Memory, note
from pxvm.terminal import echo

if TYPE_CHECKING:
    from typing_extensions import Self

FACT = "The lighthouse of Vellmoor is painted in green and white stripes."
QUESTION = "Which colours does the lighthouse of Vellmoor have?"
AGAIN = "How is the Vellmoor lighthouse painted?"


class LMStudioPixelBridge:
    """A language model bound to one knowledge network.

    Args:
        network_path: of the knowledge PNG; it is made when it is missing.
        lm_studio_url: of LM Studio, or any server that speaks OpenAI's protocol.
        model: "local-model" takes the one that is loaded there.
        backend: "auto" takes the embedded model where no LM Studio answers; see ``backends``.

    Raises BackendError when the back end cannot be reached, PxvmError for a network that cannot be
    opened.
    """

    def __init__(
        self,
        network_path: str | Path,
        lm_studio_url: str = LM_STUDIO,
        model: str = ANY_MODEL,
        *,
        backend: str = AUTO,
    ) -> None:
        url = None if lm_studio_url == LM_STUDIO else lm_studio_url
        with ExitStack() as stack:
            # Before the model, which may have to be fetched.
            self.memory = stack.enter_context(Memory(network_path))
            self.backend = connect(backend, url, model, lambda line: echo(line, err=True))
            stack.pop_all()
        self.conversation = Conversation(self.backend, self.memory, learns=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Write what is under way, and let go of the network and the model."""
        self.memory.close()
        self.backend.close()

    def ask_lm_studio(self, query: str, use_context: bool = True, **options: Any) -> str:
        """The model's answer, with what the network knows of the question.

        Nothing is stored: ``append_interaction`` does that.

        Args:
            options: ``max_tokens``, ``temperature`` and what else the back end takes.

        Raises BackendError in a clear sentence when there is no answer.
        """
        return self.conversation.ask(query, use_context, **options)

    def append_interaction(self, query: str, answer: str) -> str:
        """Store a question and its answer; returns the record's id when it is on disk.

        The exchange that was finished last is stored with the records that it used.
        """
        last = self.conversation.last
        same = last is not None and (last.question, last.answer) == (query, answer.strip())
        return self.memory.learn(
            query,
            answer,
            model=self.backend.model if same else "",
            source=self.backend.name if same else "",
            used=last.used if last is not None and same else (),
        ).result()

    def read_pixel_context(self, query: str, max_tokens: int | None = None) -> str:
        """The passages that the network has for a question, as the model is given them.

        Args:
            max_tokens: of the evidence; None takes what the model has room for.
        """
        budget = max_tokens or int(self.backend.context * 0.3)
        backend = self.backend
        return self.memory.evidence(query, (), budget, backend.passages, backend.count).text

    def conversational_loop(self) -> None:
        """Talk until the input ends; each finished exchange is learned."""
        from pxvm.integration.talking import talk

        talk(Conversation(self.backend, self.memory), self.memory)

    def demonstrate_learning(self) -> None:
        """A made-up fact: asked, taught, and asked again in other words; with the cost printed."""
        from pxvm.integration.demonstration import demonstrate

        demonstrate(self.conversation, self.memory, QUESTION, note(FACT), AGAIN)


def main() -> None:
    """``--demo`` or ``--interactive``, and where the network and the model are."""
    import argparse

    from pxvm.core.errors import PxvmError

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--demo", action="store_true", help="a fact is asked, taught, asked again")
    what.add_argument("--interactive", action="store_true", help="talk; what is said is learned")
    parser.add_argument("--network", default="knowledge.png", help="default: %(default)s")
    parser.add_argument("--url", default=LM_STUDIO, help="default: %(default)s")
    parser.add_argument("--model", default=ANY_MODEL, help="default: the one that is loaded")
    parser.add_argument("--backend", default=AUTO, choices=NAMES, help="default: %(default)s")
    given = parser.parse_args()
    try:
        with LMStudioPixelBridge(
            given.network, given.url, given.model, backend=given.backend
        ) as bridge:
            bridge.demonstrate_learning() if given.demo else bridge.conversational_loop()
    except (PxvmError, OSError) as error:
        echo(f"pxvm: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        echo("pxvm: stopped", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
