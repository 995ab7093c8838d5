"""Debugging without a screen: steps both ways, breakpoints, watches, and a command language.

``Session.execute("break MatMul")`` returns what the command shows as text; the terminal
debugger and ``pxvm debug --commands`` both speak through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pxvm.core.machine import Step
from pxvm.core.program import Image, Instruction, Program, Region
from pxvm.terminal import counted
from pxvm.visual import text
from pxvm.visual.breakpoints import Breakpoint, CommandError, parse_breakpoint, select
from pxvm.visual.history import BUDGET, SPACING, History
from pxvm.visual.pixels import Changes

AROUND = 8  # lines of the listing before and after the current one

COMMANDS = {
    "step": ("step [N]", "execute N instructions (1)"),
    "back": ("back [N]", "undo N instructions (1)"),
    "continue": ("continue", "run to a breakpoint, a Yield or the end"),
    "reverse": ("reverse", "run backwards to a breakpoint or the start"),
    "goto": ("goto N", "go to the moment after N steps"),
    "break": (
        "break WHAT",
        "stop before instruction N or an opcode, after a region changes,"
        ' or "if NAME[i,j] > 5" becomes true',
    ),
    "delete": ("delete N|all", "remove a breakpoint"),
    "watch": ("watch NAME", "show a region after every stop"),
    "unwatch": ("unwatch NAME|all", "stop showing it"),
    "print": ("print NAME[i,j]", "show a region, or a part of it"),
    "changes": ("changes", "what the last step changed"),
    "list": ("list", "the program around the current instruction"),
    "regions": ("regions", "every region with its range"),
    "where": ("where", "the current step and instruction"),
    "save": ("save FILE", "write the image as it is now"),
    "help": ("help", "this list"),
}
SHORT = {"s": "step", "b": "back", "c": "continue", "r": "reverse", "p": "print", "w": "watch",
         "l": "list", "g": "goto", "?": "help"}  # fmt: skip


class Session:
    """A run under control; see ``COMMANDS``.

    Args:
        image: mutated in place.
        source: the file that the image came from, which is never written.
        spacing, budget: see ``History``.

    Attributes:
        last: (instruction, changes) of the step that was made or undone last, or None.
        show_watches: whether commands that move show watched regions as well.

    Raises ProgramError when the program is refused.
    """

    def __init__(
        self,
        image: Image,
        *,
        source: Path | None = None,
        spacing: int = SPACING,
        budget: int = BUDGET,
    ) -> None:
        self.image, self.source = image, source
        self.history = History(image, spacing=spacing, budget=budget)
        self.machine = self.history.machine
        self.breakpoints: dict[int, Breakpoint] = {}
        self.watches: list[str] = []
        self.show_watches = True
        self.last: tuple[Instruction, Changes] | None = None
        self._numbers = 0

    @property
    def program(self) -> Program:
        """The program being run."""
        return self.machine.program

    @property
    def next(self) -> Instruction | None:
        """The instruction that comes next, or None when halted."""
        return self.machine.next

    @property
    def ended(self) -> str:
        """ "halted", "yielded" (a further step goes on), or nothing."""
        return "halted" if self.machine.halted else "yielded" if self.machine.yielded else ""

    @property
    def position(self) -> int:
        """Steps made since the start."""
        return self.machine.steps

    def step(self) -> Step | None:
        """Execute one instruction; None when halted. Raises ExecutionError."""
        made = self.history.forward()
        if made is None:
            return None
        self.last = made[0].instruction, made[1]
        return made[0]

    def back(self) -> bool:
        """Undo one instruction; False at the start."""
        changes = self.history.back()
        undone = self.next
        if changes is None or undone is None:
            return False
        self.last = undone, changes
        return True

    def goto(self, position: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Go to the moment after ``position`` steps, or as near as the program goes."""
        while self.position > max(0, position) and not stop() and self.back():
            pass
        while self.position < position and not stop() and self.step():
            pass

    def resume(self, stop: Callable[[], bool] = lambda: False) -> str:
        """Run until a breakpoint, a Yield, the end, or ``stop()``; says why it stopped."""
        while not stop():
            holds = {number: b.holds(self.image) for number, b in self.breakpoints.items()}
            if not self.step():
                return "halted"
            if reason := self._hit(holds):
                return reason
            if self.machine.yielded:
                return "yielded"
        return "interrupted"

    def reverse(self, stop: Callable[[], bool] = lambda: False) -> str:
        """Run backwards until a breakpoint, the start, or ``stop()``; says why it stopped."""
        while not stop():
            holds = {number: b.holds(self.image) for number, b in self.breakpoints.items()}
            if not self.back():
                return "at the start"
            if reason := self._hit(holds):
                return reason
        return "interrupted"

    def _hit(self, held: dict[int, bool]) -> str:
        for number, point in self.breakpoints.items():
            changes = self.last[1] if self.last else None
            if point.hit(self.image, self.next, changes, held.get(number, False)):
                return f"breakpoint {number}: {point.text}"
        return ""

    def operand_names(self, instruction: Instruction) -> str:
        """What an instruction reads and, after ">", writes, when executed at this point."""
        named = self.machine.operands(instruction)
        return arrow([r for m, r in named if m.reads], [r for m, r in named if m.writes])

    def execute(self, command: str, stop: Callable[[], bool] = lambda: False) -> str:
        """Carry out one command and return what it shows, without a final new line.

        Raises CommandError for a command that cannot be understood, and what stepping raises.
        """
        word, _, rest = command.strip().partition(" ")
        if not word:
            return ""
        name = SHORT.get(word, word)
        if name not in COMMANDS:
            known = ", ".join(COMMANDS)
            raise CommandError(f"unknown command {word!r}; there are {known}")
        method: Callable[[str, Callable[[], bool]], str] = getattr(self, f"_do_{name}")
        return method(rest.strip(), stop)

    def script(self, commands: str) -> Iterator[tuple[str, str]]:
        """(command, what it shows) for each of several commands, divided by ";"."""
        for command in commands.split(";"):
            if command.strip():
                yield command.strip(), self.execute(command)

    def _moved(self, what: str) -> str:
        return "\n".join([what, *self._watched()] if self.show_watches else [what]).strip("\n")

    def _watched(self) -> list[str]:
        return [line for name in self.watches for line in self.show(name)]

    def show(self, expression: str) -> list[str]:
        """A region, or a part such as "@8[0,1:3]", as lines of text."""
        values = select(self.program, self.image, expression)
        lines = text.value_lines(values)
        head = f"{expression}: {text.summary(values)}"
        if values.size == 1:
            return [f"{expression} = {lines[0].strip()}"]
        return [head, *(f"  {line}" for line in lines)]

    def describe_last(self) -> str:
        """The step made or undone last, in one line."""
        if not self.last:
            return "nothing has run yet"
        instruction, changes = self.last
        return f"{instruction} {instruction.op.name}, {counted(len(changes), 'pixel')} changed"

    def _do_step(self, rest: str, stop: Callable[[], bool]) -> str:
        lines: list[str] = []
        for _ in range(_count(rest)):
            if stop() or not self.step():
                break
            lines.append(f"step {self.position}: {self.describe_last()}")
        shown = (
            lines if len(lines) <= 10 else [*lines[:3], f"... {len(lines) - 6} more", *lines[-3:]]
        )
        if self.ended:
            shown.append(f"{self.ended} after {counted(self.position, 'step')}")
        return self._moved("\n".join(shown))

    def _do_back(self, rest: str, stop: Callable[[], bool]) -> str:
        for _ in range(_count(rest)):
            if stop() or not self.back():
                return self._moved("at the start")
        return self._moved(f"undone: {self.describe_last()}\n{self._where()}")

    def _do_continue(self, rest: str, stop: Callable[[], bool]) -> str:
        return self._moved(f"{self.resume(stop)}\n{self._where()}")

    def _do_reverse(self, rest: str, stop: Callable[[], bool]) -> str:
        return self._moved(f"{self.reverse(stop)}\n{self._where()}")

    def _do_goto(self, rest: str, stop: Callable[[], bool]) -> str:
        if not rest.isdecimal():
            raise CommandError(f"goto takes a number of steps; found {rest!r}")
        self.goto(int(rest), stop)
        return self._moved(self._where())

    def _do_break(self, rest: str, stop: Callable[[], bool]) -> str:
        if rest:
            point = parse_breakpoint(self.program, self.image, rest)
            self._numbers += 1
            self.breakpoints[self._numbers] = point
            return f"breakpoint {self._numbers}: {point.text}"
        if not self.breakpoints:
            return "no breakpoints"
        return "\n".join(f"breakpoint {n}: {point.text}" for n, point in self.breakpoints.items())

    def _do_delete(self, rest: str, stop: Callable[[], bool]) -> str:
        if rest == "all":
            self.breakpoints.clear()
        elif not rest.isdecimal() or int(rest) not in self.breakpoints:
            known = ", ".join(map(str, self.breakpoints)) or "none"
            raise CommandError(f"delete takes a breakpoint's number or all; there are {known}")
        else:
            del self.breakpoints[int(rest)]
        return self._do_break("", stop)

    def _do_watch(self, rest: str, stop: Callable[[], bool]) -> str:
        if rest:
            select(self.program, self.image, rest)
            if rest not in self.watches:
                self.watches.append(rest)
        return "\n".join(self._watched()) or "nothing is watched"

    def _do_unwatch(self, rest: str, stop: Callable[[], bool]) -> str:
        if rest == "all":
            self.watches.clear()
        elif rest not in self.watches:
            known = ", ".join(self.watches) or "none"
            raise CommandError(f"unwatch takes a watched name or all; there are {known}")
        else:
            self.watches.remove(rest)
        return self._do_watch("", stop)

    def _do_print(self, rest: str, stop: Callable[[], bool]) -> str:
        return "\n".join(self.show(rest))

    def _do_changes(self, rest: str, stop: Callable[[], bool]) -> str:
        lines = [self.describe_last()]
        if self.last and len(self.last[1]):
            changes = self.last[1]
            lines += [f"  {n:>6}  {r.name}" for r in self.program.regions
                      if (n := changes.inside(r))]  # fmt: skip
        return "\n".join(lines)

    def _do_list(self, rest: str, stop: Callable[[], bool]) -> str:
        return "\n".join(self.listing(AROUND))

    def listing(self, around: int) -> list[str]:
        """Lines of the program near the next instruction: ">" marks it, "*" a breakpoint."""
        code = self.program.instructions
        here = self.next.index if self.next else len(code) - 1
        lines = []
        for i in code[max(0, here - around) : here + around + 1]:
            mark = ">" if self.next and i.index == here else " "
            star = "*" if any(b.stops_before(i) for b in self.breakpoints.values()) else " "
            line = f"{mark}{star}{i.index:>4}  {i!s:<14} {i.op.name:<15} {self.operand_names(i)}"
            lines.append(line.rstrip())
        return lines

    def _do_regions(self, rest: str, stop: Callable[[], bool]) -> str:
        return "\n".join(
            f"  {r.name:<8} {r.role:<8} {r.encoding:<14} {text.summary(r.values(self.image))}"
            for r in self.program.regions
        )

    def _do_where(self, rest: str, stop: Callable[[], bool]) -> str:
        return self._where()

    def _where(self) -> str:
        if self.next is None:
            return f"step {self.position}, halted"
        i = self.next
        words = f"step {self.position}, next {i.index}: {i} {i.op.name}"
        return f"{words}  {self.operand_names(i)}".rstrip()

    def _do_save(self, rest: str, stop: Callable[[], bool]) -> str:
        from pxvm.core.container import save_image
        from pxvm.core.saving import check_output

        if not rest:
            raise CommandError("save takes a file name")
        check_output(rest, *filter(None, [self.source]))
        save_image(self.image, Path(rest))
        return f"wrote {rest}"

    def _do_help(self, rest: str, stop: Callable[[], bool]) -> str:
        return "\n".join(f"  {usage:<18} {what}" for usage, what in COMMANDS.values())


def arrow(reads: list[Region], writes: list[Region]) -> str:
    """ "@1 @2 > @3" """
    left = " ".join(dict.fromkeys(r.name for r in reads))
    right = " ".join(dict.fromkeys(r.name for r in writes))
    return f"{left} > {right}".strip() if right else left


def _count(rest: str) -> int:
    if rest and not rest.isdecimal():
        raise CommandError(f"expected a number of steps; found {rest!r}")
    return int(rest or 1)
