"""A language model as a proposer: it writes instructions in font-code, errors go back to it.

An instruction is its opcode's glyph and operands behind ``@``, the result first: ``U@t1@x`` is Sum
of x. Values are called t1 to t8, constants c and their number, the last instruction makes ``out``.
Types, places and parameter blocks follow from that, so the model writes none. A model in this
process is held to that by a grammar made from the instruction table; any other is asked to, and
told what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pxvm.coach.errors import TaskError
from pxvm.coach.expression import (
    CONSTANT,
    CONSTANTS,
    LEAVES,
    OPERATIONS,
    Expression,
    Shape,
    evaluate,
    infer,
)
from pxvm.coach.memory import Experience
from pxvm.coach.retrieval import similar
from pxvm.coach.search import Spent
from pxvm.coach.task import RESULT, Task, type_text
from pxvm.integration.backends import EMBEDDED
from pxvm.integration.errors import ContextTooLongError

if TYPE_CHECKING:
    from pxvm.integration.backends import Backend

ROUNDS = 3  # answers of one task: the first, and corrections
VALUES, SHOWN, REMEMBERED, TOKENS = 8, 3, 6, 160
BY_GLYPH = {op.opcode.glyph: op for op in OPERATIONS.values()}
_LINE = re.compile(r"^\s*(\S)@(\w+)@([\w-]+)(?:@([\w-]+))?\s*$", re.MULTILINE)


def grammar(inputs: Sequence[str]) -> str:
    """Font-code of up to nine instructions, in Lark's notation."""

    def choice(words: Sequence[str]) -> str:
        return " | ".join(f'"{word}"' for word in words)

    one, two = (choice([g for g, op in BY_GLYPH.items() if op.arity == n]) for n in (1, 2))
    constants = choice([f"c{n}" for n in CONSTANTS])
    rules = ["start: after0", f"one: {one}", f"two: {two}"]
    for made in range(VALUES + 1):  # so many values are there already
        values = [f"t{n}" for n in range(1, made + 1)]
        forms = (f'one "@{{}}@" first{made}', f'two "@{{}}@" first{made} "@" second{made}')
        choices = [form.format(RESULT) for form in forms]
        if made < VALUES:
            choices += [f'{form.format(f"t{made + 1}")} "\\n" after{made + 1}' for form in forms]
        rules += [
            f"after{made}: {' | '.join(choices)}",
            f"first{made}: {choice([*inputs, *values])}",
            f"second{made}: first{made} | {constants}",
        ]
    return "\n".join(rules)


def parse(said: str, inputs: Sequence[str], shapes: Sequence[Shape]) -> Expression:
    """The program that instructions spell. Raises TaskError that says what is wrong with them."""
    known: dict[str, Expression] = {name: ("x", n) for n, name in enumerate(inputs)}
    for found in _LINE.finditer(said):
        glyph, out, *operands = found.groups()
        op = BY_GLYPH.get(glyph)
        if op is None:
            raise TaskError(f"{found[0].strip()}: there is no opcode {glyph}")
        given = [name for name in operands if name is not None]
        if len(given) != op.arity:
            raise TaskError(f"{found[0].strip()}: {op.name} takes {op.arity} operands")
        parts: list[Expression] = []
        for name in given:
            constant = re.fullmatch(r"c(-?\d{1,9})", name)
            if name in known:
                parts.append(known[name])
            elif constant:
                parts.append(("k", int(constant[1])))
            else:
                raise TaskError(f"{found[0].strip()}: {name} is not made before")
        expression = (op.name, *parts)
        if infer(expression, shapes) is None:
            kinds = ", ".join(
                "a constant" if (s := infer(part, shapes)) == CONSTANT else type_text(s or (1, 1))
                for part in parts
            )
            raise TaskError(f"{found[0].strip()}: {op.name} does not take {kinds}")
        known[out] = expression
    if RESULT not in known:
        raise TaskError(f"no instruction makes {RESULT}")
    return known[RESULT]


def spell(expression: Expression, names: Sequence[str]) -> str:
    """An expression as instructions; the inverse of ``parse`` where nine are enough."""
    lines: list[str] = []
    known: dict[Expression, str] = {}

    def name(e: Expression) -> str:
        if e[0] in LEAVES:
            return names[e[1]] if e[0] == "x" else f"c{e[1]}"
        if e not in known:
            given = [name(part) for part in e[1:]]
            known[e] = RESULT if e is expression else f"t{len(lines) + 1}"
            lines.append("@".join([OPERATIONS[e[0]].opcode.glyph, known[e], *given]))
        return known[e]

    name(expression)
    return "\n".join(lines)


class Speaking:
    """The proposer: every answer of the model is a candidate."""

    def __init__(
        self, backend: Backend, task: Task, known: Sequence[Experience],
        wrong: Collection[Expression],
    ) -> None:  # fmt: skip
        self.backend, self.task, self.wrong = backend, task, wrong
        self.given, self.wanted = task.shown()
        self.names, self.shapes = list(task.inputs), list(task.inputs.values())
        fitting = [e for e in known if list(e.task.inputs) == self.names]
        self.remembered = similar(task, fitting)[:REMEMBERED]
        self.options = {"grammar": grammar(self.names)} if backend.name == EMBEDDED else {}

    def run(self, spent: Spent) -> Expression | None:
        """The program of the first answer that gives the shown results, None after ``ROUNDS``."""
        messages = self._question()
        for _ in range(min(ROUNDS, spent.left)):
            asked = self.backend.stream(
                messages, max_tokens=TOKENS, temperature=0.0, **self.options
            )
            try:
                said = "".join(asked)
            except ContextTooLongError:  # a task with long examples, for a model with little room
                return None
            spent.used += 1
            found, wrong = self._judged(said)
            if found is not None:
                return found
            messages += [
                {"role": "assistant", "content": said},
                {"role": "user", "content": f"{wrong}. Write the whole program again."},
            ]
        return None

    def _judged(self, said: str) -> tuple[Expression | None, str]:
        """(the program where it gives the shown results, else what is wrong with it)."""
        try:
            found = parse(said, self.names, self.shapes)
        except TaskError as error:
            return None, str(error)
        shape = infer(found, self.shapes)
        if shape != self.task.output:
            return None, f"{RESULT} is {type_text(shape or (1, 1))}, not {self._kind()}"
        results = evaluate(found, self.given)
        for number, wanted in enumerate(self.wanted):
            if not np.array_equal(results[number], wanted):
                return None, (
                    f"For {self._inputs(number)} {RESULT} is {_plain(results[number])}, not"
                    f" {_plain(wanted)}"
                )
        return (None, "Other examples differ") if found in self.wrong else (found, "")

    def _kind(self) -> str:
        return type_text(self.task.output)

    def _inputs(self, number: int) -> str:
        return ", ".join(
            f"{name} = {_plain(values[number])}"
            for name, values in zip(self.names, self.given, strict=True)
        )

    def _question(self) -> list[dict[str, str]]:
        """What a program is, and examples; then tasks as they were asked and answered, the most
        similar last, and this one: a small model does as was done before."""
        lines = ["Write a program, one instruction a line: glyph@result@operand@operand.", ""]
        lines += [f"{glyph} {op.name}: {op.opcode.semantics}" for glyph, op in BY_GLYPH.items()]
        lines += ["", *(f"{n} is {type_text(s)}" for n, s in self.task.inputs.items())]
        lines += [f"{RESULT} is {self._kind()}", ""]
        messages = []
        for e in reversed(self.remembered):
            if e.expression:
                asked = "\n".join([*lines, f"Task: {e.task.words}"])
                answered = spell(e.expression, self.names)
                messages += [{"role": "user", "content": asked},
                             {"role": "assistant", "content": answered}]  # fmt: skip
                lines = []
        lines += [
            f"{self._inputs(number)} gives {_plain(self.wanted[number])}"
            for number in range(min(SHOWN, len(self.wanted)))
        ]
        lines += [f"Task: {self.task.words}"]
        return [*messages, {"role": "user", "content": "\n".join(lines)}]


def _plain(values: np.ndarray) -> str:
    return str(values.tolist()[0] if len(values) == 1 else values.tolist())
