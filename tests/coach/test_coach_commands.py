"""``pxvm coach`` from end to end: files in, files and words out, exit status."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from pxvm.core.container import read_image
from pxvm.core.interpreter import run_program
from pxvm.models.graph.fields import Fields
from tests.coach.making import X, task
from tests.terminal.screen import called


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    easy = task(("Sum", ("ReLU", X)), words="sum what is above zero")
    (tmp_path / "easy.json").write_text(json.dumps(easy.as_data()))
    return tmp_path


def pxvm(line):
    status, shown = called(line.split())
    return status, shown.decode().replace("\r\n", "\n")


def test_a_task_from_file_to_picture(here):
    status, said = pxvm("coach solve easy.json -n k.png -o p.pxi")
    assert status == 0, said
    assert "solved by glance: sum what is above zero" in said
    assert "program: Sum(ReLU(x))" in said and "remembered as record 1" in said
    image = read_image(here / "p.pxi")
    fields = Fields(image)
    fields["x"] = [[-1, 2, 3, -4, 5, 6]]
    run_program(image, device="reference")
    assert Fields(image).scalar("out") == 16

    status, said = pxvm("coach solve easy.json -n k.png --json")
    found = json.loads(said)
    assert (status, found["by"], found["spent"]) == (0, "recall", {"recall": 1})

    status, said = pxvm("coach log -n k.png")
    assert status == 0 and said.count("solved") == 2 and "2 pieces" not in said
    assert "1 phrase\n  " in said and said.endswith(" = Sum(ReLU(x0))\n"), said

    status, said = pxvm("coach curve -n k.png -o curve.png")
    assert status == 0, said
    picture = np.asarray(Image.open(here / "curve.png").convert("RGB"))
    assert picture.shape == (760, 1200, 3) and len(np.unique(picture.reshape(-1, 3), axis=0)) > 5

    status, said = pxvm("coach ask how do I sum above zero -n k.png")
    assert status == 0 and "program: Sum(ReLU(x))" in said and "pxvm run answer.pxi" in said
    status, said = pxvm("run answer.pxi --device reference --json")
    first = json.loads((here / "easy.json").read_text())["examples"][0]["out"]
    values = {r["name"]: r["values"] for r in json.loads(said)["regions"]}
    assert values["out"] == [[[first]]]


def test_a_program_is_taught_and_one_that_is_wrong_is_refused(here):
    pxvm("coach solve easy.json -n k.png -o p.pxi")
    status, said = pxvm("coach teach p.pxi --task easy.json -n other.png")
    assert status == 0 and "solved by taught" in said
    other = task(("Max", X)).as_data()
    (here / "other.json").write_text(json.dumps(other))
    status, said = pxvm("coach teach p.pxi --task other.json -n other.png")
    assert status == 2 and "does not give what the examples show" in said


def test_what_is_not_solved_is_status_1(here):
    hard = task(("Mul", ("TopK", X), ("Add", X, ("k", 37)))).as_data()
    (here / "hard.json").write_text(json.dumps(hard))
    status, said = pxvm("coach solve hard.json -n k.png --budget 100")
    assert status == 1 and said.startswith("unsolved") and "glance 1" in said
    status, said = pxvm("coach ask anything -n k.png")
    assert status == 1 and "nothing that was solved" in said


@pytest.mark.parametrize("line", ["log", "ask anything", "curve -o c.png"])
def test_where_there_is_no_memory_it_is_told_what_makes_one(here, line):
    status, said = pxvm(f"coach {line} -n typo.png")
    assert status == 2 and "`pxvm coach solve` makes a network" in said, said
    assert not list(here.glob("typo*"))


def test_what_is_refused_leaves_no_empty_memory(here):
    pxvm("coach solve easy.json -n k.png -o p.pxi")
    (here / "other.json").write_text(json.dumps(task(("Max", X)).as_data()))
    missing = "--backend embedded --model none.pxi"
    for line in ("teach p.pxi --task other.json", f"solve easy.json {missing}"):
        status, said = pxvm(f"coach {line} -n new.png")
        assert status == 2 and not (here / "new.png").exists(), said


def test_no_output_goes_over_what_is_read(here):
    for line in ("coach solve easy.json -n k.png -o easy.json",
                 "coach solve easy.json -n k.png -o k.png"):  # fmt: skip
        status, said = pxvm(line)
        assert status == 2 and said.count("\n") == 1, said
    assert json.loads((here / "easy.json").read_text())["output"] == "number"
