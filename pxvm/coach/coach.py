"""The coach: proposers in the order of their expected yield, the machine's word, and the memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pxvm.coach.errors import TaskError
from pxvm.coach.expression import Expression, expand
from pxvm.coach.memory import SOLVED, UNSOLVED, WRONG, Experience, Memory
from pxvm.coach.pictures import Admitted, admit, draw, read, right
from pxvm.coach.retrieval import Retrieval
from pxvm.coach.search import Search, Spent
from pxvm.coach.task import Task
from pxvm.core.parts import Image

if TYPE_CHECKING:
    from pxvm.integration.backends import Backend
    from pxvm.learning import Network

BUDGET = 20_000
#: Successes and candidates that each proposer is trusted with before anything was measured, and the
#: part of the budget that it may take.
PROPOSERS: Mapping[str, tuple[float, float, float]] = {
    "recall": (1, 2, 1.0),
    "phrases": (1, 50, 0.01),  # what the words say, read as words of solved tasks are
    "glance": (1, 500, 0.01),  # the first candidates of the search
    "retrieval": (1, 500, 0.01),
    "model": (1, 5_000, 0.1),
    "search": (1, 10_000, 1.0),
}


@dataclass(frozen=True)
class Attempt:
    """What came of a task.

    Attributes:
        outcome: "solved"; "wrong" where hidden examples differ; "unsolved".
        by: the proposer of the program, "" where there is none.
        spent: candidates of each proposer, in the order in which they were asked.
        expression: the program without calls, None where it is more than an expression.
        image: the program as pixels, None where there is none.
        record: id of the record, "" without a memory.
    """

    task: Task
    outcome: str
    by: str
    spent: Mapping[str, int]
    expression: Expression | None = None
    image: Image | None = None
    record: str = ""

    @property
    def candidates(self) -> int:
        """Candidates in all."""
        return sum(self.spent.values())


class Coach:
    """Solves tasks with what the memory knows, and remembers what came of it.

    Args:
        network: the memory; None for none.
        backend: a language model that proposes as well; see ``pxvm.integration.connecting``.
        device: executor that confirms programs; all give the same bytes.
    """

    def __init__(self, network: Network | None = None, *, backend: Backend | None = None,
                 device: str = "reference") -> None:  # fmt: skip
        self.memory, self.backend, self.device = Memory(network), backend, device

    def solve(self, task: Task, budget: int = BUDGET) -> Attempt:
        """Look for a program that gives the examples, with at most ``budget`` candidates.

        The first program that gives the shown examples is the attempt's; the hidden ones judge it.
        """
        memory = self.memory
        memory.refresh()
        known = list(memory.trusted())
        same = [e for e in known if e.task.id == task.id]
        wrong = [e.expression for e in same if e.outcome == WRONG and e.expression]
        spent: dict[str, int] = {}
        given, wanted = task.shown()
        learned = memory.library.learned.hinted(task.words)
        search = Search(given, wanted, learned, budget, wrong)
        for name in self._order(known):
            left = budget - sum(spent.values())
            share = max(1, int(budget * PROPOSERS[name][2]))
            account = Spent(min(left, share))
            found, recalled = self._propose(name, task, search, known, same, account)
            spent[name] = account.used
            if found is not None:
                return self._judge(task, name, spent, found, recalled)
        record = memory.store(task, UNSOLVED, "", spent)
        return Attempt(task, UNSOLVED, "", spent, record=record)

    def _order(self, known: list[Experience]) -> list[str]:
        """The proposers that can be asked, by successes for each candidate so far."""

        def expected(name: str) -> float:
            successes, candidates, _ = PROPOSERS[name]
            successes += sum(e.outcome == SOLVED and e.by == name for e in known)
            return successes / (candidates + sum(e.spent.get(name, 0) for e in known))

        usable = set(PROPOSERS) - ({"model"} if self.backend is None else set())
        if not any(e.outcome == SOLVED for e in known):
            usable -= {"recall", "phrases", "retrieval"}
        return sorted(usable, key=lambda name: (-expected(name), name))

    def _propose(
        self, name: str, task: Task, search: Search, known: list[Experience],
        same: list[Experience], account: Spent,
    ) -> tuple[Expression | Admitted | None, str | None]:  # fmt: skip
        """(what a proposer found, the record that it stands in)."""
        if name == "recall":
            for e in same:
                if e.outcome == SOLVED and e.admitted is not None and account.left > 0:
                    account.used += 1
                    return e.admitted, e.id
            return None, None
        if name == "phrases":
            said = self.memory.phrases.readings(task.words, task.inputs)
            return search.begin(said, account), None
        if name == "retrieval":
            return Retrieval(task, known, search.wrong).run(account), None
        if name == "model":
            from pxvm.coach.speaking import Speaking

            assert self.backend is not None
            return Speaking(self.backend, task, known, search.wrong).run(account), None
        return search.run(account), None

    def _judge(
        self, task: Task, by: str, spent: dict[str, int], found: Expression | Admitted,
        recalled: str | None,
    ) -> Attempt:  # fmt: skip
        """The machine runs the program on every example; what it says is stored."""
        pieces = self.memory.library.learned.pieces
        if isinstance(found, Admitted):
            admitted, expression = found, read(found)
        else:
            admitted = admit(draw(found, task.inputs, pieces), task.inputs, task.output)
            expression = expand(found, pieces)
        shown, hidden = right(admitted, task, self.device)
        assert shown, "what the proposer computed is what the machine computes"
        outcome = SOLVED if hidden else WRONG
        record = self.memory.store(
            task, outcome, by, spent, image=admitted.image, expression=expression, recalled=recalled
        )
        return Attempt(task, outcome, by, spent, expression, admitted.image, record)

    def teach(self, image: Image, task: Task) -> Attempt:
        """Remember a program that somebody wrote for a task.

        Raises ProgramError, TaskError where it may not run, is not for such tasks, or gives other
        results than the shown examples.
        """
        admitted = admit(image, task.inputs, task.output)
        shown, hidden = right(admitted, task, self.device)
        if not shown:
            raise TaskError(f"{task.name}: the program does not give what the examples show")
        outcome = SOLVED if hidden else WRONG
        expression = read(admitted)
        record = self.memory.store(task, outcome, "taught", {}, image=image, expression=expression)
        return Attempt(task, outcome, "taught", {}, expression, image, record)

    def log(self) -> list[Experience]:
        """Every attempt that the memory tells of, those in doubt as well."""
        self.memory.refresh()
        return list(self.memory.all())
