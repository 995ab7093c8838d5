"""The profile's counts and costs; its times are times."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as Picture

from pxvm.cli import cli
from pxvm.core import executors
from pxvm.core.builder import Builder
from pxvm.core.container import read_image, save_image
from pxvm.core.cost import Cost, cost
from pxvm.core.dialect1 import read_state
from pxvm.core.errors import OutputError, ProgramError
from pxvm.core.isa import OPCODES
from pxvm.core.layout import NetworkBuilder
from pxvm.core.machine import Machine
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role, State
from pxvm.core.verifier import verify
from pxvm.visual.pixels import Shadow
from pxvm.visual.profile import Line, copy_rate, profile, set_scalar
from pxvm.visual.profile_command import _rate, summary
from tests.differential.generator import generate

DEVICES = [name for name in executors.installed() if not executors.load(name).available()]
GOLDEN = Path(__file__).parents[1] / "conformance" / "dialect0"
ONE = 32768 | (-15 & 0xFFFF) << 16  # the scale 1: mantissa and exponent


def network() -> Image:
    """Three rounds over a linear layer of 3 tokens in use, a sum, and a copy."""
    b = NetworkBuilder()
    b.constant("rounds", 3)
    b.tensor("n", DType.I32, (1,), Role.STATE, data=[3])
    b.tensor("x", DType.I32, (5, 8), Role.STATE, length="n", data=np.arange(40).reshape(5, 8))
    b.tensor("scale", DType.SCALE, (12,), Role.CONSTANT, data=[ONE] * 12)
    b.tensor("w", DType.I8, (12, 8), Role.CONSTANT, scale="scale", data=np.ones((12, 8)))
    b.tensor("q", DType.ACT2, (5, 8), length="n")
    b.tensor("y", DType.I32, (5, 12), Role.STATE, length="n")
    b.tensor("s", DType.I32, (5, 1), Role.STATE, length="n")
    b.tensor("z", DType.I32, (5, 8), Role.STATE, length="n")
    b.emit("Quantise", "q", "x")
    b.emit("Loop", "rounds", 0)
    b.emit("Linear", "y", "q", "w")
    b.emit("EndLoop")
    b.emit("Sum", "s", "y")
    b.emit("Copy", "z", "x")
    b.emit("Yield")
    b.emit("Add", "z", "z", "x")
    return b.build()


def costs(image: Image) -> dict[str, Cost]:
    program = verify(image)
    return {i.op.name: cost(image, program, i) for i in program.instructions}


def test_costs_of_a_network_by_hand():
    found = costs(network())
    assert found["Linear"] == Cost(2 * 3 * 12 * 8, 12 * 8 + 3 * 8 + 4 * 3 * 12)
    assert found["Quantise"] == Cost(4 * 3 * 8, 6 * 3 * 8)
    assert found["Sum"] == Cost(3 * 12, 4 * 3 * 12)
    assert found["Copy"] == Cost(0, 8 * 5 * 8), "a copy moves rows that are not in use as well"
    assert found["Add"] == Cost(3 * 8, 12 * 3 * 8)
    assert found["Loop"] == found["Halt"] == Cost(0, 4)


def test_an_instruction_without_rows_in_use_costs_nothing():
    image = network()
    set_scalar(image, "n=0")
    assert costs(image)["Linear"] == costs(image)["Sum"] == Cost(0, 0)


def test_costs_of_products_convolution_and_attention_by_hand():
    b = NetworkBuilder()
    b.scalar("position", 4)
    b.tensor("a", DType.ACT2, (3, 8))
    b.tensor("b", DType.ACT2, (5, 8))
    b.tensor("ab", DType.I32, (3, 5))
    b.tensor("picture", DType.ACT2, (2, 6 * 6 * 4))
    b.tensor("scale", DType.SCALE, (7,), Role.CONSTANT, data=[ONE] * 7)
    b.tensor("w", DType.I8, (7, 3 * 3 * 4), Role.CONSTANT, scale="scale")
    b.tensor("maps", DType.I32, (2, 4 * 4 * 7))
    b.parameters("conv", "Conv2D", weight="w", height=6, width=6, size=3, stride=1, pad=0)
    b.tensor("q", DType.I32, (3, 16))
    for name in ("k", "v"):
        b.tensor(name, DType.ACT1, (1, 32, 8), Role.STATE)
    b.parameters("causal", "AttentionCausal", k="k", v="v", position="position", scale=(32768, -15))
    b.tensor("mixed", DType.I32, (3, 16))
    b.emit("MatMul", "ab", "a", "b")
    b.emit("Conv2D", "maps", "picture", "conv")
    b.emit("AttentionCausal", "mixed", "q", "causal")
    found = costs(b.build())
    assert found["MatMul"] == Cost(2 * 3 * 5 * 8, 2 * 3 * 8 + 2 * 5 * 8 + 4 * 3 * 5)
    windows = 2 * 4 * 4
    assert found["Conv2D"] == Cost(2 * windows * 7 * 36, 36 * 7 + 4 * windows * 7)
    seen = 5 + 6 + 7
    assert found["AttentionCausal"] == Cost(4 * 16 * seen, 2 * 16 * seen)


def test_costs_of_a_program_of_dialect_0_by_hand():
    b = Builder()
    b.matrix("A", np.arange(6).reshape(2, 3))
    b.matrix("B", np.arange(12).reshape(3, 4))
    b.result("C", 2, 4)
    b.emit("MatMul", "A", "B", "C")
    b.emit("ReLU", "C")
    b.emit("Halt")
    found = costs(b.build())
    assert found["MatMul"] == Cost(2 * 2 * 3 * 4, 4 * (6 + 12 + 8))
    assert found["ReLU"] == Cost(8, 64)


def test_every_opcode_has_a_cost():
    """Random programs, step by step: what an instruction did has a price, as the table says."""
    charged = set()
    for seed in range(1000, 1060):
        machine = Machine(generate(seed))
        shadow = Shadow(machine.image, machine.program)
        while machine.steps < 60 and (upcoming := machine.next):
            base = int(read_state(machine.image, machine.program.state_start)[State.BASE])
            price = cost(machine.image, machine.program, upcoming, base)
            step = machine.step()
            changed = shadow.update(step).inside(*step.writes)
            assert price.operations >= 0 and price.bytes >= 0
            if changed:
                assert price.bytes > 0, upcoming.place
                assert (price.operations > 0) == (upcoming.op.operations != "0"), upcoming.place
            if price.bytes:
                charged.add(upcoming.op.name)
    assert charged == {op.name for op in OPCODES if op.dialect == 1}


@pytest.mark.parametrize("device", DEVICES)
def test_counts_and_pixels_are_those_of_stepping(device: str):
    images = [network(), *(read_image(p) for p in sorted(GOLDEN.glob("network*.pxi")))]
    for image in images:
        stepped, profiled = image.copy(), image.copy()
        machine = Machine(stepped)
        machine.run()
        found = profile(profiled, device=device, threads=2, runs=5)
        assert found.steps == machine.steps == found.total().count
        assert sum(line.count for line in found.opcodes()) == machine.steps
        assert np.array_equal(stepped, profiled)


def test_a_run_ends_at_yield_and_at_so_many_steps():
    once, twice, few = network(), network(), network()
    assert profile(once, device="reference").steps == 11
    assert profile(twice, device="reference", runs=2).steps == 13
    found = profile(few, device="reference", max_steps=4)
    assert found.steps == 4
    assert {line.name: line.count for line in found.opcodes()} == {
        "Quantise": 1, "Loop": 1, "Linear": 1, "EndLoop": 1
    }  # fmt: skip


def test_a_loop_is_one_line_with_sums():
    found = profile(network(), device="reference")
    line = next(line for line in found.opcodes() if line.name == "Linear")
    assert line.count == 3 and line.operations == 3 * 2 * 3 * 12 * 8
    assert [line.name for line in found.lines()][2].endswith("Linear q w > y")


def test_set_scalar_names_what_can_be_set():
    image = network()
    for text in ("w=1", "n", "n=x", "n=99999999999", "rounds=2"):
        with pytest.raises(ProgramError, match=r"tensor of the state \(n, "):
            set_scalar(image, text)


def test_the_command_prints_both_tables_and_json(tmp_path: Path):
    path = tmp_path / "network.png"
    save_image(network(), path)
    before = path.read_bytes()
    options = ["profile", str(path), "--device", "reference", "--set", "n=2"]
    shown = CliRunner().invoke(cli, [*options, "--instructions"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "Linear q w > y" in shown.output and "11 instructions in" in shown.output
    asked = CliRunner().invoke(cli, [*options, "--json"], catch_exceptions=False)
    data = json.loads(asked.output)
    assert data["steps"] == 11 and len(data["instructions"]) == 7
    linear = next(line for line in data["opcodes"] if line["name"] == "Linear")
    assert linear["operations"] == 3 * 2 * 2 * 12 * 8
    assert path.read_bytes() == before


def test_the_picture_has_a_bar_for_each_line_and_is_no_input(tmp_path: Path):
    path, out = tmp_path / "network.png", tmp_path / "profile.png"
    save_image(network(), path)
    options = ["profile", str(path), "--device", "reference", "--json", "-o"]
    assert CliRunner().invoke(cli, [*options, str(out)], catch_exceptions=False).exit_code == 0
    with Picture.open(out) as picture:
        dots = np.asarray(picture)
    for name in ("Linear", "Sum"):
        color = next(op.color for op in OPCODES if op.name == name and op.dialect == 1)
        bars = (dots == color).all(axis=2).sum(axis=1) > 15  # in the glyph's box, and in a bar
        assert bars.sum() >= 2 * 12, "an opcode's line and an instruction's"
    with pytest.raises(OutputError):
        CliRunner().invoke(cli, [*options, str(path)], catch_exceptions=False)


def test_the_share_of_a_copy_by_hand():
    found = Line("x", 2, 0.5, 100, 3 * 10**9).figures(total=2.0, copy=12e9)
    assert (found["share"], found["GB/s"], found["of copy"]) == (0.25, 6.0, 0.5)
    assert Line("x", 1, 0.5, 1, 1).figures(1.0, 0.0)["of copy"] is None
    assert copy_rate(1) > 1e8


def test_a_device_with_a_clock_times_its_instructions_itself(monkeypatch: pytest.MonkeyPatch):
    reference = executors.load("reference")

    class Timed:
        """The reference, every instruction of which takes two seconds by its own clock."""

        def __init__(self, *arguments):
            self.inner = reference.session(*arguments)
            self.run = self.inner.run

        def timed(self, steps):
            return self.run(steps), 2.0 * steps

    class Device:
        session, copy_rate = Timed, staticmethod(lambda: 24.0)

    monkeypatch.setattr(executors, "executor", lambda *chosen: Device)
    found = profile(network(), device="gpu")
    assert (found.clock, found.copy, found.seconds()) == ("device", 24.0, 22.0)
    assert all(line.seconds == 2.0 * line.count for line in found.lines())
    assert "22000.000 ms by the device's own clock" in summary(found)


def test_rates_of_a_tiny_program_are_no_zeros():
    assert [_rate(x) for x in (None, 12.345, 0.5, 0.00028612, 4.92e-05)] == [
        "", "12.35", "0.50", "0.000286", "4.92e-05"
    ]  # fmt: skip
