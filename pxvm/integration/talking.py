"""The interactive loop: questions and commands in, answers out, every finished one learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pxvm.core.errors import PxvmError
from pxvm.integration.conversation import Conversation
from pxvm.integration.memory import Memory, changed, note
from pxvm.integration.reading import Lines, as_text
from pxvm.learning.commands.changes import same_elsewhere
from pxvm.learning.commands.shared import line, record_name, save_picture
from pxvm.terminal import counted, echo, echo_text, readable_answer

COMMANDS: Mapping[str, str] = {
    "/teach": "TEXT: remember a fact",
    "/forget": "NUMBER: forget a record",
    "/correct": "NUMBER TEXT: replace what a record says",
    "/why": "which records the last answer was given, and why they were found",
    "/context": "the evidence of the last answer, as the model saw it",
    "/stats": "what the memory holds",
    "/view": "[FILE]: draw the memory's newest page",
    "/export": "FILE: write the memory as JSONL, Markdown or Parquet",
    "/learn": "FILE: take a file or a folder into the memory",
    "/undo": "forget the last exchange",
    "/help": "this list",
    "/quit": "end; so does Ctrl-D",
}


def talk(conversation: Conversation, memory: Memory, max_tokens: int = 512) -> None:
    """Answer until the input ends. Ctrl-C stops an answer, which is then not learned."""
    loop = _Loop(conversation, memory, max_tokens)
    count = counted(len(memory.network), "record")
    backend = conversation.backend
    echo(f"{backend.model} ({backend.name}) with {memory.path}, {count}; /help lists commands",
         dim=True)  # fmt: skip
    lines = Lines("> ", COMMANDS)
    while (said := lines.next()) is not None:
        if not said.strip():
            continue
        if said.strip() == "/quit":
            break
        try:
            loop.take(as_text(said).strip())
        except (PxvmError, OSError) as error:
            echo(_sentence(error), err=True)
        except KeyboardInterrupt:
            echo("(stopped; nothing of this is learned)", dim=True)
    loop.settle()


class _Loop:
    def __init__(self, conversation: Conversation, memory: Memory, max_tokens: int) -> None:
        self.conversation, self.memory, self.max_tokens = conversation, memory, max_tokens
        self.network = memory.network

    def take(self, said: str) -> None:
        """One question, or one command."""
        self.settle()
        if not said.startswith("/"):
            self.answer(said)
            return
        name, _, rest = said.partition(" ")
        if name not in COMMANDS:
            raise PxvmError(f"no command is called {name}; /help lists them")
        todo: Callable[[str], None] = getattr(self, f"do_{name[1:]}")
        todo(rest.strip())

    def settle(self) -> None:
        """Wait for the last exchange to be stored, and tell when it could not be."""
        try:
            self.conversation.settle()
        except (PxvmError, OSError) as error:
            echo(f"the last exchange was not learned: {_sentence(error)}", err=True)

    def answer(self, question: str) -> None:
        answer = readable_answer()
        try:
            for piece in self.conversation.stream(question, max_tokens=self.max_tokens):
                answer.put(piece)
        finally:
            answer.end()
        last = self.conversation.last
        if last is not None and last.used:
            echo(f"(from {self.memory.named(last.used)})", dim=True)
        if self.conversation.seen.warning:
            echo(f"({self.conversation.seen.warning})")

    def do_teach(self, text: str) -> None:
        _wants(text, "/teach TEXT")
        identity = self.memory.append(note(text)).result()
        echo(f"learned as record {self.network.record(identity).sequence}", dim=True)

    def do_forget(self, name: str) -> None:
        _wants(name, "/forget NUMBER")
        record = self.network.record(record_name(name))
        self.network.forget(record.id)
        echo(f"forgotten: {line(record).strip()}", dim=True)
        for other in same_elsewhere(self.network, [record]):
            echo(f"says the same, and still counts: {line(other).strip()}", dim=True)
        echo("`pxvm network compact` removes the text from the files", dim=True)

    def do_correct(self, text: str) -> None:
        name, _, answer = text.partition(" ")
        _wants(answer.strip(), "/correct NUMBER TEXT")
        new = changed(self.memory, record_name(name), answer.strip())
        echo(f"corrected as record {new.sequence}", dim=True)

    def do_why(self, _: str) -> None:
        last = self.conversation.last
        if last is None or not last.used:
            echo("the last answer was given no evidence", dim=True)
            return
        for hit in last.used:
            echo(line(hit.record))
            echo(f"        {hit.why}", dim=True)

    def do_context(self, _: str) -> None:
        echo_text(self.conversation.seen.text or "nothing was found for the last question")

    def do_stats(self, _: str) -> None:
        found = self.network.stats()
        echo(
            f"{self.memory.path}: {counted(found['records'], 'record')}, {found['rows']:,} rows,"
            f" {found['bytes']:,} bytes on {counted(found['pages'], 'page')}"
        )

    def do_view(self, target: str) -> None:
        from pxvm.learning.commands.shared import output_target
        from pxvm.learning.picture.picture import draw_page

        file = Path(target or f"{self.memory.path.stem}.view.png")
        save_picture(draw_page(self.network), output_target(file, self.memory.path))
        echo(f"wrote {file}", dim=True)

    def do_export(self, target: str) -> None:
        _wants(target, "/export FILE")
        from pxvm.learning.commands.shared import output_target

        count = self.network.export(output_target(Path(target), self.memory.path))
        echo(f"wrote {counted(count, 'record')} to {target}", dim=True)

    def do_learn(self, target: str) -> None:
        _wants(target, "/learn FILE")
        from pxvm.learning.search.embedding import Embedder
        from pxvm.learning.sources.documents import read_documents
        from pxvm.learning.sources.known import Known
        from pxvm.learning.sources.learn import Learned, learn

        Path(target).stat()
        found = read_documents([Path(target)], self.memory.path, (), Known(self.network).stamped)
        events = list(learn(self.network, found, embedder=Embedder.present()))
        done = [event for event in events if isinstance(event, Learned)]
        added = counted(sum(event.added for event in done), "passage")
        echo(f"{counted(len(done), 'document')}, {added} stored", dim=True)

    def do_undo(self, _: str) -> None:
        last = self.conversation.last
        if last is None or last.stored is None:
            raise PxvmError("there is nothing to undo")
        self.network.forget(last.stored.result())
        del self.conversation.turns[-2:]
        self.conversation.last = None
        echo("the last exchange is forgotten", dim=True)

    def do_help(self, _: str) -> None:
        for name, what in COMMANDS.items():
            echo(f"{name:<10} {what}")


def _sentence(error: Exception) -> str:
    """What went wrong, the file first where it is about one."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    return str(error)


def _wants(text: str, usage: str) -> None:
    if not text:
        raise PxvmError(f"expected {usage}")
