"""Programs in the page's WebAssembly give the bytes and the sentences that they give everywhere."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pxvm.core import isa
from pxvm.core.container import read_image
from pxvm.core.errors import ExecutionError, ProgramError, PxvmError
from pxvm.core.interpreter import run_program
from pxvm.core.program import Image
from tests.conformance.make import HERE, digest
from tests.conformance.test_conformance import GOLDEN
from tests.differential.generator import generate, generate_one
from tests.studio.machine_pages import bind, file_of, runs

if TYPE_CHECKING:
    from playwright.sync_api import Page

STEPS = 400


@pytest.fixture(scope="module")
def machine(rooms: Page) -> Page:
    bind(rooms)
    return rooms


@pytest.mark.short
def test_every_program_of_the_suite(machine: Page) -> None:
    cases = [
        (name, (HERE / name).read_bytes(), golden["max_steps"]) for name, golden in GOLDEN.items()
    ]
    for (name, golden), found in zip(GOLDEN.items(), runs(machine, cases), strict=True):
        if golden.get("refused") == "program":
            with pytest.raises(ProgramError) as caught:
                run_program(read_image(HERE / name), golden["max_steps"], device="reference")
            assert found["refused"] == str(caught.value), name
            continue
        assert found["sha256"] == golden["sha256"], name
        assert ("error" in found) == ("refused" in golden), name
        if "error" in found:
            with pytest.raises(ExecutionError) as stopped:
                run_program(read_image(HERE / name), golden["max_steps"], device="reference")
            assert found["error"] == str(stopped.value)


def compared(machine: Page, images: list[Image]) -> None:
    """Run pictures in the page and on the reference: the same pixels, or the same sentence."""
    cases = [(f"{n}", file_of(image), STEPS) for n, image in enumerate(images)]
    for image, found in zip(images, runs(machine, cases), strict=True):
        said = None
        try:
            run_program(image, STEPS, device="reference")
        except PxvmError as error:
            said = str(error)
        assert (found.get("refused") or found.get("error")) == said
        if "sha256" in found:
            assert found["sha256"] == digest(image)


def test_random_programs(machine: Page) -> None:
    compared(machine, [generate(seed) for seed in range(8)])


def test_one_random_program_for_each_opcode(machine: Page) -> None:
    names = [op.name for op in isa.OPCODES if op.dialect == 1 and op.flow is isa.Flow.NEXT]
    compared(machine, [generate_one(random.Random(name), name) for name in names])


def test_programs_with_changed_words(machine: Page) -> None:
    dice, images = random.Random(3), []
    names = [name for name in GOLDEN if "refused" not in name]
    for _ in range(30):
        image = read_image(HERE / dice.choice(names))
        words = image.reshape(-1, 4).view("<u4")[:, 0]
        for _ in range(dice.choice((1, 1, 3))):
            at = dice.randrange(min(len(words), 400))
            words[at] = dice.choice((0, 1, 3, 255, 2**31, 2**32 - 1, dice.randrange(2**32)))
        images.append(image)
    compared(machine, images)


def test_values_that_do_not_fit_16_bits(machine: Page) -> None:
    """Two planes hold numbers to -32,896, which the products' fast way cannot take."""
    image = read_image(HERE / "dialect1/linear_two_planes_with_bias.pxi")
    changed = np.where(image == 128, 0, image).astype(np.uint8)
    changed[0] = image[0]
    compared(machine, [image, changed])
