"""Dialect 0 on a GPU: the picture lies there as it is, and its bytes are multiplied there.

The host reads headers and decides; steps in float64, of quantised results, are the host's, since a
GPU has none: exact integer sums come from the device, their epilogue is ``reference``'s own. After
each instruction the rows that it wrote are fetched, so that the image is right at every point.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core import matrix, reference
from pxvm.core.errors import DeviceError, ExecutionError, ProgramError
from pxvm.core.interrupt import Uninterrupted
from pxvm.core.isa import Flow
from pxvm.core.mapping import watched
from pxvm.core.matrix import FIRST_COLUMN, Matrix
from pxvm.core.parts import Image, Instruction, Program
from pxvm.core.tensor import words_of
from pxvm.gpu import shaders
from pxvm.gpu.devices import Gpu

LANES = 64
GROUPS = 65535  # workgroups in one dimension of a dispatch


class Row:
    """A dialect 0 program at some point of its run, on a GPU."""

    def __init__(self, gpu: Gpu, image: Image, program: Program) -> None:
        self.gpu, self.image, self.program, self.steps = gpu, image, program, 0
        self.width = image.shape[1]
        self.pixels = gpu.buffer(words_of(image).size)
        self.job = gpu.buffer(64, uniform=True)
        self.pipelines: dict[str, Any] = {}
        kinds = ("uniform", "storage", "storage")
        self.layout = gpu.device.create_bind_group_layout(
            entries=[
                {"binding": i, "visibility": gpu.stages.COMPUTE, "buffer": {"type": kind}}
                for i, kind in enumerate(kinds)
            ]
        )
        code = f"const WIDTH: u32 = {self.width}u;\n" + shaders.text("row")
        self.module = gpu.device.create_shader_module(code=code)
        self._upload(0, len(image))

    @watched
    def run(self, max_steps: int | None = None) -> int:
        """Execute until Halt or ``max_steps`` (None: 1,024); returns the steps made.

        An instruction that fails leaves what those before it made, a device that fails nothing.
        """
        first, limit = self.steps, 1024 if max_steps is None else max_steps
        before = self.image.copy()
        try:
            self._upload(0, len(self.image))
            for instruction in self.program.instructions[first : first + limit]:
                if instruction.op.flow is Flow.HALT:
                    break
                with Uninterrupted():
                    self._execute(instruction)
                    self.steps += 1
        except (self.gpu.library.GPUError, MemoryError, DeviceError):
            self.image[...], self.steps = before, first
            raise
        return self.steps - first

    def host(self, names: Iterable[str] | None) -> None:
        """Nothing: the image is right after each instruction."""

    def sync(self) -> None:
        """Nothing: the image is right after each instruction."""

    def _execute(self, instruction: Instruction) -> None:
        g, b, a = instruction.operands
        try:
            if instruction.op.name == "MatMul":
                left, right = reference.matmul_operands(self.image, g, b, a)
                self._matmul(left, right, a)
            elif instruction.op.name == "Dot":
                left, right = reference.dot_operands(self.image, g, b, a)
                one = Matrix(a, (1, 1), "headerless", left.data)
                self._start(left, right, one, inner=left.data.size)
                self._dispatch("dot_product", 1)
                self._fetch(a, a + 1)
            elif instruction.op.name == "Add":
                left, right = reference.add_operands(self.image, g, b)
                self._add(left, right, a)
            elif instruction.op.name == "Blit":
                self._blit(reference.glyphs_of(self.image, g, b, a))
            else:
                reference.execute(self.image, instruction)
                self._upload(0, len(self.image))
        except ProgramError as error:
            raise ExecutionError(f"{instruction.place}: {error}") from None

    def _matmul(self, left: Matrix, right: Matrix, row: int) -> None:
        shape = (left.shape[0], right.shape[1])
        encoding = reference.encoding_of(left, right)
        if encoding == "quantised":
            sums = shape[0] * shape[1], shape[0], shape[1]
            self._start(left, right, Matrix(row, shape, encoding, left.data), sum(sums))
            self._dispatch("product", sums[0])
            self._dispatch("margins", sums[1] + sums[2])
            found = self._totals(sum(sums)).astype(np.float64)
            total, rows, columns = np.split(found, np.cumsum(sums)[:2])
            values = reference.product_of_sums(left, right, total.reshape(shape), rows, columns)
            reference.store(self.image, row, values, left, right)
            self._upload(*self._rows(row, shape, encoding))
            return
        self._stored("product", left, right, Matrix(row, shape, encoding, left.data))

    def _add(self, left: Matrix, right: Matrix, row: int) -> None:
        encoding = reference.encoding_of(left, right)
        if encoding == "quantised":
            reference.store(self.image, row, left.values + right.values, left, right)
            self._upload(*self._rows(row, left.shape, encoding))
            return
        self._stored("add", left, right, Matrix(row, left.shape, encoding, left.data))

    def _stored(self, kernel: str, left: Matrix, right: Matrix, result: Matrix) -> None:
        """Run a kernel whose sums become bytes; the header before them is the host's."""
        count = result.shape[0] * result.shape[1]
        self._start(left, right, result, count)
        self._dispatch(kernel, count)
        empty = np.zeros(result.shape, np.uint8)
        matrix.write_matrix(self.image, result.row, empty, encoding=result.encoding)
        if result.encoding != "headerless":
            header = words_of(self.image)[result.row, :2]
            self._write(result.row * self.width, header)
        self._dispatch("settle", count)
        self._fetch(*self._rows(result.row, result.shape, result.encoding))

    def _blit(self, glyphs: reference.Glyphs) -> None:
        if not glyphs.places:
            return
        size, count = glyphs.width * glyphs.height, len(glyphs.places)
        placeholder = Matrix(0, (count, glyphs.height), "headerless", self.image[0, :0, 0])
        self._start(placeholder, placeholder, placeholder, count * (2 + size), glyphs.width)
        at = np.array(glyphs.places, np.int64).reshape(-1, 2) @ [self.width, 1]
        self.gpu.device.queue.write_buffer(self.totals, 0, at.astype(np.uint32))
        self._dispatch("lift", count * size)
        self._dispatch("lay", count * size)
        rows = [y for _, (y, _) in glyphs.places]
        self._fetch(min(rows), max(rows) + glyphs.height)

    def _rows(self, row: int, shape: tuple[int, int], encoding: str) -> tuple[int, int]:
        """The image rows of a matrix."""
        return row, row + matrix.rows_needed(shape[0] * shape[1], self.width, encoding)

    def _start(
        self, left: Matrix, right: Matrix, result: Matrix, words: int = 1, inner: int | None = None
    ) -> None:
        """Say what the next dispatches work on; ``words`` of sums."""
        self.totals = self.gpu.buffer(words)
        places = [(m.row, FIRST_COLUMN[m.encoding]) for m in (left, right, result)]
        rows, columns = result.shape
        job = [*np.ravel(places), rows, left.shape[1] if inner is None else inner, columns]
        self.gpu.device.queue.write_buffer(self.job, 0, np.array(job, np.uint32))

    def _dispatch(self, kernel: str, invocations: int) -> None:
        device = self.gpu.device
        if kernel not in self.pipelines:
            self.pipelines[kernel] = device.create_compute_pipeline(
                layout=device.create_pipeline_layout(bind_group_layouts=[self.layout]),
                compute={"module": self.module, "entry_point": kernel},
            )
        buffers = (self.job, self.pixels, self.totals)
        group = device.create_bind_group(
            layout=self.layout,
            entries=[
                {"binding": i, "resource": {"buffer": b, "offset": 0, "size": b.size}}
                for i, b in enumerate(buffers)
            ],
        )
        groups = -(-invocations // LANES)
        encoder = device.create_command_encoder()
        compute = self.gpu.begin(encoder)
        compute.set_pipeline(self.pipelines[kernel])
        compute.set_bind_group(0, group)
        compute.dispatch_workgroups(min(groups, GROUPS), -(-groups // GROUPS))
        compute.end()
        device.queue.submit([encoder.finish()])

    def _totals(self, count: int) -> NDArray[np.uint32]:
        data = self.gpu.device.queue.read_buffer(self.totals, 0, 4 * count)
        return np.frombuffer(data, np.uint32)

    def _write(self, at: int, words: NDArray[np.uint32]) -> None:
        self.gpu.device.queue.write_buffer(self.pixels, 4 * at, np.ascontiguousarray(words))

    def _upload(self, first: int, stop: int) -> None:
        self._write(first * self.width, words_of(self.image)[first:stop])

    def _fetch(self, first: int, stop: int) -> None:
        """Image rows as the device has them."""
        size = 4 * (stop - first) * self.width
        data = self.gpu.device.queue.read_buffer(self.pixels, 4 * first * self.width, size)
        words_of(self.image)[first:stop] = np.frombuffer(data, np.uint32).reshape(-1, self.width)
