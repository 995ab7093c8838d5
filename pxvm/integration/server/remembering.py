"""The memory between a client and the model: evidence in, finished exchanges stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pxvm.core.errors import PxvmError
from pxvm.integration.conversation import EVIDENCE, with_evidence
from pxvm.integration.memory import NOTHING, Memory, own_words
from pxvm.integration.server.answering import Source
from pxvm.integration.server.wanted import RefusedError, Wanted, said
from pxvm.learning.search.context import Context
from pxvm.terminal import echo

NO_MEMORY = "no-memory"
HEADER = "x-pxvm-network"


@dataclass(frozen=True)
class Recalled:
    """A request with what is known of its question.

    Attributes:
        wanted: the request as the model gets it.
        memory: that the exchange is stored in; None where it is not.
    """

    wanted: Wanted
    memory: Memory | None = None
    question: str = ""
    found: Context = NOTHING


class Memories:
    """The networks that a server was given, by the names of their files.

    Args:
        paths: the first is the one that is taken unless a request chooses another.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        with ExitStack() as stack:
            self.by_name: Mapping[str, Memory] = {
                path.stem: stack.enter_context(Memory(path)) for path in paths
            }
            if len(self.by_name) != len(paths):
                raise RefusedError("two networks have one name; rename one of the files")
            stack.pop_all()

    def chosen(self, name: Any) -> Memory | None:
        """The network for a request; None for none. Raises RefusedError for one that is not here.

        Args:
            name: from the header, or the field ``network``.
        """
        if name == NO_MEMORY or not self.by_name:
            return None
        if not name:
            return next(iter(self.by_name.values()))
        found = self.by_name.get(name) if isinstance(name, str) else None
        if found is None:
            raise RefusedError(
                f"no network is called {name!r:.60}; there are {', '.join(self.by_name)} and"
                f" {NO_MEMORY}",
                404,
                field="network",
            )
        return found

    def recall(self, wanted: Wanted, name: Any, source: Source) -> Recalled:
        """The request with evidence before its last question."""
        memory = self.chosen(name)
        last = wanted.messages[-1]
        question = said(last.get("content"))
        if memory is None or last["role"] != "user" or not question.strip():
            return Recalled(wanted)
        before = [said(m.get("content")) for m in wanted.messages[:-1] if m["role"] == "user"]
        budget = int(source.context * EVIDENCE)
        found = memory.evidence(question, before, budget, source.passages, source.count)
        told = {**last, "content": _with(last["content"], found.text)}
        asked = replace(wanted, messages=(*wanted.messages[:-1], told))
        return Recalled(asked, memory if wanted.choices == 1 else None, question, found)

    def learn(self, recalled: Recalled, answer: str, source: Source) -> dict[str, Any]:
        """Store a finished exchange; what is told of it, once it is on disk or could not be."""
        told: dict[str, Any] = {
            "records": [hit.record.sequence for hit in recalled.found.hits],
            "stored": None,
        }
        if recalled.found.unsearched:
            told["unsearched"] = recalled.found.unsearched
        memory, used = recalled.memory, recalled.found.hits
        if memory is not None and own_words(answer):
            try:
                told["stored"] = memory.learn(
                    recalled.question, answer, model=source.model, source=source.name, used=used
                ).result()
            except (PxvmError, OSError) as error:  # the answer is worth having all the same
                told["fault"] = f"not learned: {error}"
                echo(f"{memory.path}: {told['fault']}", err=True)
        return told

    def close(self) -> None:
        """Write what is under way, and let go of the files."""
        for memory in self.by_name.values():
            memory.close()


def _with(content: Any, evidence: str) -> Any:
    """A message's content, a text or a list of parts, with evidence before it."""
    if isinstance(content, str) or not evidence:
        return with_evidence(content, evidence)
    return [{"type": "text", "text": with_evidence("", evidence)}, *content]
