"""The verifier of dialect 1.

It walks every path of a program with the base register's every value, so that afterwards no
operand, shape, place or overlap is open: a program that is admitted cannot read or write outside
its image, cannot change what it may only read, and ends within its budget.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pxvm.core.dialect1 import RELATIVE, TensorProgram, parse, read_state
from pxvm.core.errors import ProgramError
from pxvm.core.isa import Flow, Mode, Names
from pxvm.core.program import Image, Instruction
from pxvm.core.rules import RULES, flat, need
from pxvm.core.tensor import (
    DEPTH,
    HALTED,
    MAX_COUNT,
    Descriptor,
    DType,
    Role,
    State,
    read_words,
    shape_text,
)

MAX_WORK = 1 << 18  # instructions visited with their bases, and rounds of loops that move it
PAIRWISE = 1 << 12  # boxes up to which each is compared with each
BAND = 1 << 22


def verify(image: Image) -> TensorProgram:
    """Admit a dialect 1 program or raise ProgramError; see ``verifier.verify``."""
    program = parse(image)
    _Links(program).check()
    _check_overlaps(program)
    walk = _Walk(image, program)
    budget = walk.main()
    _check_state(image, program, walk)
    return replace(program, budget=budget, visits=tuple(sorted(walk.checked)))


class _Links:
    """Scale, bias and length of every descriptor."""

    def __init__(self, program: TensorProgram) -> None:
        self.program = program

    def check(self) -> None:
        for d in self.program.descriptors:
            try:
                self._check(d)
            except ProgramError as error:
                raise ProgramError(f"descriptor {d.index} ({d.name}): {error}") from None

    def _check(self, d: Descriptor) -> None:
        table = self.program.descriptors
        if d.length is not None:
            link = table[d.length]
            one = link.dtype == DType.I32 and flat(link) == 1 and link.length is None
            need(one and link.role != Role.SCRATCH, "a kept I32 scalar as length", link)
            need(len(d.extents) > 1, "at least two extents with a length", d)
        if d.scale is not None:
            link = table[d.scale]
            count = {DType.I8: d.rows, DType.I4: d.rows, DType.I16: 1}.get(d.dtype, 0)
            fits = link.dtype == DType.SCALE and len(link.extents) == 1 and flat(link) == count
            need(fits and link.role == Role.CONSTANT, f"{count} constant scales [n]", d, link)
        if d.bias is not None:
            link = table[d.bias]
            count = {DType.I8: d.rows, DType.I4: d.rows, DType.I16: d.cols}.get(d.dtype, 0)
            fits = link.dtype == DType.I32 and len(link.extents) == 1 and flat(link) == count
            need(fits and link.role == Role.CONSTANT, f"a constant I32 bias [{count}]", d, link)
        if d.dtype in (DType.I8, DType.I4, DType.I16, DType.SCALE):
            need(d.role == Role.CONSTANT, f"a constant role for {d.dtype.name}", d)


def _rectangles(program: TensorProgram) -> tuple[Any, list[str]]:
    """(y0, y1, x0, x1, writable) of every tensor and reserved area, and their names."""
    width, boxes, names = program.width, [], []
    for d in program.descriptors:
        if d.dtype == DType.PARAMS:
            continue
        x, y = d.start % width, d.start // width
        used = min(d.per, d.rows) * d.row_words if d.per else width
        boxes.append((y, y + d.image_rows(width), x, x + used, d.role != Role.CONSTANT, d.index))
        names.append(d.name or f"descriptor {d.index}")
    for name, start, count in program.reserved:
        # A partial first row, whole rows and a partial last row.
        stop = start + count
        first, last = -(-start // width), stop // width
        pieces = [(start, min(first * width, stop)), (first * width, last * width)]
        pieces.append((max(last, first) * width, stop))
        for begin, end in pieces:
            if begin < end:
                y, x = divmod(begin, width)
                rows = max((end - begin) // width, 1)
                box = (y, y + rows, x, x + min(end - begin, width))
                boxes.append((*box, name == "state", -1))
                names.append(name)
    return np.array(boxes, np.int64).reshape(-1, 6), names


def _check_overlaps(program: TensorProgram) -> None:
    boxes, names = _rectangles(program)
    y0, y1, x0, x1, writable, index = boxes.T
    alone = (writable != 0) | (index < 0)
    if len(boxes) > PAIRWISE and not _crowded(boxes, alone, program.width):
        return
    for i in np.flatnonzero(alone):
        hit = (y0 < y1[i]) & (y1 > y0[i]) & (x0 < x1[i]) & (x1 > x0[i])
        hit[i] = False
        if hit.any():
            j = int(np.flatnonzero(hit)[0])
            raise ProgramError(
                f"{names[i]} and {names[j]} overlap at x={max(x0[i], x0[j])},"
                f" y={max(y0[i], y0[j])}; what is written must stand alone"
            )


def _crowded(boxes: Any, alone: Any, width: int) -> bool:
    """True when something that must stand alone overlaps, found by painting a picture.

    Only rows where a box begins or ends matter, so the picture has one row for each of these;
    it is painted in bands, so that its size is bounded.
    """
    lines = np.unique(boxes[:, :2])
    y0, y1 = np.searchsorted(lines, boxes[:, 0]), np.searchsorted(lines, boxes[:, 1])
    x0, x1 = boxes[:, 2], boxes[:, 3]
    height = max(BAND // (width + 1), 1)
    for top in range(0, len(lines), height):
        here = (y0 < top + height) & (y1 > top)
        above, below = np.maximum(y0[here] - top, 0), np.minimum(y1[here] - top, height)
        left, right = x0[here], x1[here]
        weight = np.where(alone[here], (1 << 32) + 1, 1)
        picture = np.zeros((height + 1, width + 1), np.int64)
        corners = ((above, left, 1), (above, right, -1), (below, left, -1), (below, right, 1))
        for row, column, sign in corners:
            np.add.at(picture, (row, column), sign * weight)
        picture = picture.cumsum(axis=0).cumsum(axis=1)
        if ((picture >> 32 > 0) & (picture & 0xFFFFFFFF > 1)).any():
            return True
    return False


class _Walk:
    """Visits every instruction with every base that can reach it."""

    def __init__(self, image: Image, program: TensorProgram) -> None:
        self.image, self.program = image, program
        self.code = program.instructions
        self.visited: set[tuple[int, int]] = set()
        self.checked: set[tuple[int, int]] = set()
        self.costs: dict[tuple[int, int], tuple[int, int, int]] = {}
        self.work = 0
        self.inner: list[int] = []
        self.match, self.ends = self._structure()

    def fail(self, instruction: Instruction, message: str) -> ProgramError:
        return ProgramError(f"{instruction.place}: {message}")

    def _structure(self) -> tuple[dict[int, int], dict[int, int]]:
        """Matching loops, and for each block's first instruction its last."""
        match: dict[int, int] = {}
        ends: dict[int, int] = {}
        stack: list[int] = []
        first = 0
        for i in self.code:
            self.inner.append(stack[-1] if stack else -1)
            if i.op.flow is Flow.LOOP:
                stack.append(i.index)
            elif i.op.flow is Flow.END_LOOP:
                if not stack or stack[-1] < first:
                    raise self.fail(i, "expected a Loop before it in the same block; found none")
                match[stack.pop()] = i.index
            elif i.op.flow is (Flow.RETURN if first else Flow.HALT):
                if stack:
                    raise self.fail(
                        self.code[stack[-1]], "expected its EndLoop; found the block's end"
                    )
                ends[first] = i.index
                first = i.index + 1
            elif i.op.flow in (Flow.HALT, Flow.RETURN):
                raise self.fail(
                    i, "the main block ends with its one Halt, a subroutine with its one Return"
                )
        if first != len(self.code):
            raise self.fail(self.code[-1], "expected Halt (or Return) at the end of the block")
        return match, ends

    def main(self) -> int:
        """Visit the main block; the largest number of steps."""
        start = read_start(self.image, self.program)
        return self.block(0, self.ends[0], start, 0, 0)[0]

    def block(
        self, first: int, last: int, base: int, loops: int, calls: int
    ) -> tuple[int, int, int]:
        """Visit instructions first..last with a base, inside so many loops and calls.

        Returns their largest number of steps, and how many loops and calls deep they go.
        """
        if not 0 <= base <= len(self.program.descriptors):
            raise self.fail(self.code[first], f"the base becomes {base}, beyond all descriptors")
        key = (first, base)
        if key not in self.costs:
            self.costs[key] = self._block(first, last, base, loops, calls)
        steps, loops_inside, calls_inside = self.costs[key]
        if loops + loops_inside > DEPTH or calls + calls_inside > DEPTH:
            raise self.fail(self.code[first], f"loops and calls nest at most {DEPTH} deep")
        return steps, loops_inside, calls_inside

    def _block(
        self, first: int, last: int, base: int, loops: int, calls: int
    ) -> tuple[int, int, int]:
        steps, index = 0, first
        loops_inside = calls_inside = 0
        while index <= last:
            instruction = self.code[index]
            self._visit(instruction, base)
            steps += 1
            flow = instruction.op.flow
            if flow is Flow.LOOP:
                end = self.match[index]
                more, deep, far = self._loop(instruction, end, base, loops + 1, calls)
                steps, loops_inside = steps + more, max(loops_inside, deep + 1)
                calls_inside = max(calls_inside, far)
                index = end
            elif flow is Flow.CALL:
                more, deep, far = self._call(instruction, base, loops, calls + 1)
                steps, loops_inside = steps + more, max(loops_inside, deep)
                calls_inside = max(calls_inside, far + 1)
            elif flow is Flow.SKIP:
                self._skip(instruction, last)
            index += 1
        return steps, loops_inside, calls_inside

    def _count(self, instruction: Instruction) -> None:
        self.work += 1
        if self.work > MAX_WORK:
            raise self.fail(instruction, f"the program has over {MAX_WORK} paths")

    def _visit(self, instruction: Instruction, base: int) -> None:
        self._count(instruction)
        self.visited.add((instruction.index, base))
        relative = any(
            operand >= RELATIVE
            for mode, operand in zip(instruction.op.operands, instruction.operands, strict=True)
            if mode.names in (Names.TENSOR, Names.BLOCK)
        )
        key = (instruction.index, base if relative else -1)
        if key not in self.checked:
            self.checked.add(key)
            try:
                self._check(instruction, base)
            except ProgramError as error:
                raise self.fail(instruction, str(error)) from None

    def _descriptor(self, index: int) -> Descriptor:
        table = self.program.descriptors
        if not 0 <= index < len(table):
            raise ProgramError(f"expected descriptor 0..{len(table) - 1}; found {index}")
        return table[index]

    def _check(self, instruction: Instruction, base: int) -> None:
        op = instruction.op
        tensors: list[Descriptor] = []
        written: list[Descriptor] = []
        touched: list[Descriptor] = []
        named: dict[str, Any] = {}
        for position, (mode, operand) in enumerate(
            zip(op.operands, instruction.operands, strict=True)
        ):
            if mode is Mode.NONE:
                if operand:
                    raise ProgramError(
                        f"operand {position + 1} is unused and must be 0; found {operand}"
                    )
                continue
            if mode.names not in (Names.TENSOR, Names.BLOCK):
                continue
            d = self._descriptor(self.program.index(operand, base))
            if mode.names is Names.BLOCK:
                named = self._parameters(instruction, d, touched, written)
                continue
            self._type(d, op.types[position])
            tensors.append(d)
            touched.append(d)
            if mode.writes:
                written.append(d)
        for d in written:
            need(d.role != Role.CONSTANT, "a result that is not constant", d)
            need(touched.count(d) == 1 or (op.in_place and written.count(d) == 1),
                 "a result that is none of the other operands", d)  # fmt: skip
            for other in touched:
                need(other.length != d.index, "a result that is not another operand's length", d)
        if op.name in RULES:
            RULES[op.name](*tensors, **named)
        if op.adds_bias:
            self._bias(tensors[0], named.get("weight", tensors[-1]))

    def _bias(self, out: Descriptor, weight: Descriptor) -> None:
        if weight.bias is not None:
            bias = self._descriptor(weight.bias)
            need(bias.frac == out.frac, "a bias with the result's fraction bits", bias, out)

    def _type(self, d: Descriptor, types: tuple[str, ...]) -> None:
        if d.dtype.name not in types:
            raise ProgramError(
                f"expected {' or '.join(types)}; found {d.dtype.name} ({d.name or d.index})"
            )

    def _parameters(
        self,
        instruction: Instruction,
        d: Descriptor,
        touched: list[Descriptor],
        written: list[Descriptor],
    ) -> dict[str, Any]:
        if d.dtype != DType.PARAMS:
            raise ProgramError(
                f"expected a parameter block; found {d.dtype.name} ({d.name or d.index})"
            )
        named: dict[str, Any] = {}
        for parameter, word in zip(instruction.op.parameters, d.parameters, strict=False):
            named[parameter.name] = word
            if parameter.mode.names is not Names.TENSOR:
                continue
            named[parameter.name] = link = self._descriptor(word)
            self._type(link, parameter.types)
            touched.append(link)
            if parameter.mode.writes:
                written.append(link)
        return named

    def _loop(
        self, loop: Instruction, end: int, base: int, loops: int, calls: int
    ) -> tuple[int, int, int]:
        if loops > DEPTH:
            raise self.fail(loop, f"loops nest at most {DEPTH} deep")
        count = self._descriptor(self.program.index(loop.operands[0], base))
        if flat(count) != 1 or count.length is not None:
            found = f"{count.name or count.index} {shape_text(count.extents)}"
            raise self.fail(loop, f"expected a count of one element, no length; found {found}")
        stride, times = loop.operands[2], MAX_COUNT
        if count.role == Role.CONSTANT:
            times = constant_count(self.image, count)
        elif stride:
            raise self.fail(loop, "expected a constant count where the base moves")
        if not stride:
            steps, deep, far = self.block(loop.index + 1, end, base, loops, calls)
            return times * steps, deep, far
        steps = deep = far = 0
        for n in range(times):
            self._count(loop)
            one = self.block(loop.index + 1, end, base + n * stride, loops, calls)
            steps, deep, far = steps + one[0], max(deep, one[1]), max(far, one[2])
        return steps, deep, far

    def _call(self, call: Instruction, base: int, loops: int, calls: int) -> tuple[int, int, int]:
        target = call.operands[0] | call.operands[1] << 8
        if calls > DEPTH or target not in self.ends or not target:
            found = f"instruction {target} at call depth {calls}"
            raise self.fail(
                call, f"expected the start of a subroutine, at most {DEPTH} deep; found {found}"
            )
        return self.block(target, self.ends[target], base + call.operands[2], loops, calls)

    def _skip(self, skip: Instruction, last: int) -> None:
        target = skip.index + 1 + skip.operands[2]
        if target > last or self.inner[target] != self.inner[skip.index]:
            raise self.fail(skip, "expected to skip whole loops inside its own block")


def constant_count(image: Image, count: Descriptor) -> int:
    """How often a loop with a constant count runs."""
    return int(np.clip(read_words(image, count.start, 1).view("<i4")[0], 0, MAX_COUNT))


def read_start(image: Image, program: TensorProgram) -> int:
    """The base register at the start: the one kept by the outermost loop or call.

    A loop that stands behind the main block's Halt was entered after a call.
    """
    state = read_state(image, program.state_start)
    end = next(i.index for i in program.instructions if i.op.flow is Flow.HALT)
    if state[State.LOOPS] and state[State.LOOP_STACK] <= end:
        return int(state[State.LOOP_STACK + 3])
    return int(state[State.CALL_STACK + 1] if state[State.CALLS] else state[State.BASE])


def _check_state(image: Image, program: TensorProgram, walk: _Walk) -> None:
    """The registers must be a place that the program can reach."""
    s = [int(v) for v in read_state(image, program.state_start)]
    bad = ProgramError(
        "the state's registers are not a place that this program reaches; reset the state to zero"
    )
    loops, calls, pc = s[State.LOOPS], s[State.CALLS], s[State.PC]
    if not (0 <= loops <= DEPTH and 0 <= calls <= DEPTH and 0 <= s[State.STATUS] <= HALTED):
        raise bad
    if not (0 <= pc < len(walk.code) and (pc, s[State.BASE]) in walk.visited):
        raise bad
    # From the innermost frame outwards: which loops enclose the place, and with what base.
    base, place, left = s[State.BASE], pc, loops
    frames = [(s[State.CALL_STACK + 2 * i], s[State.CALL_STACK + 2 * i + 1]) for i in range(calls)]
    while True:
        block = max(first for first in walk.ends if first <= place)
        for loop in sorted(
            (i for i, e in walk.match.items() if i < place <= e and i >= block), reverse=True
        ):
            left -= 1
            if left < 0:
                raise bad
            base = _check_loop(walk, s, left, loop, base, bad)
        if not frames:
            break
        place, before = frames.pop()
        call = walk.code[place - 1] if 0 < place < len(walk.code) else None
        if call is None or call.op.flow is not Flow.CALL or (place, before) not in walk.visited:
            raise bad
        if call.operands[0] | call.operands[1] << 8 != block or base != before + call.operands[2]:
            raise bad
        base = before
    if left or block:
        raise bad


def _check_loop(
    walk: _Walk, s: list[int], slot: int, loop: int, base: int, bad: ProgramError
) -> int:
    at = State.LOOP_STACK + 4 * slot
    first, remaining, stride, before = s[at : at + 4]
    if (
        first != loop + 1
        or stride != walk.code[loop].operands[2]
        or not 1 <= remaining <= MAX_COUNT
    ):
        raise bad
    if (loop, before) not in walk.visited:
        raise bad
    count = walk.program.descriptors[walk.program.index(walk.code[loop].operands[0], before)]
    times = MAX_COUNT
    if count.role == Role.CONSTANT:
        times = constant_count(walk.image, count)
    if not stride:
        if base != before or remaining > times:
            raise bad
        return before
    done, rest = divmod(base - before, stride)
    if rest or done < 0 or done + remaining != times:
        raise bad
    return before
