"""The task format: what is read, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pxvm.coach.errors import TaskError
from pxvm.coach.task import read_task, task_of

TASK = {
    "name": "column sums", "words": "sum each column",
    "inputs": {"m": "matrix 2x3", "v": "column 2"}, "output": "vector 3",
    "examples": [
        {"in": {"m": [[1, 2, 3], [4, 5, 6]], "v": [0, 1]}, "out": [5, 7, 9]},
        {"in": {"m": [[0, 0, 0], [4, 5, -6]], "v": [2, 1]}, "out": [4, 5, -6], "hidden": True},
    ],
}  # fmt: skip


def changed(**how):
    return {**TASK, **how}


def example(**how):
    return changed(examples=[{**TASK["examples"][0], **how}])


def test_a_task_is_read_and_written_the_same():
    task = task_of(TASK)
    assert task.as_data() == TASK
    assert task.inputs == {"m": (2, 3), "v": (2, 1)} and task.output == (1, 3)
    given, wanted = task.shown()
    assert [g.shape for g in given] == [(1, 2, 3), (1, 2, 1)]
    np.testing.assert_array_equal(wanted, [[[5, 7, 9]]])


def test_the_same_task_under_another_name_is_the_same():
    task = task_of(TASK)
    assert task_of(changed(name="x", words="y")).id == task.id
    assert task_of(example(out=[5, 7, 8])).id != task.id


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "expected an object"),
        (changed(name=3), "expected 'name', a text; found 3"),
        (changed(name="n" * 201), "Unicode text of at most 200 characters; found 201"),
        (changed(words="\ud800"), "Unicode text"),
        (
            changed(
                examples=[
                    {"in": {"m": [[1, 2, 3]] * 2, "v": [0, 1]}, "out": [n, 0, 0]} for n in range(2)
                ]
            ),
            "found two, in examples 0 and 1",
        ),
        (changed(output="vector 0"), "output: expected number, vector N"),
        (changed(output="matrix 999x999"), "at most 1024 elements"),
        (changed(inputs={}), "expected 1 to 4 inputs"),
        (changed(inputs={"out": "number"}), "not 'out'"),
        (changed(inputs={"a b": "number"}), "named by letters"),
        (changed(examples=[]), "expected 1 to 256 examples"),
        (example(out=[1, 2]), "example 0: out: expected vector 3"),
        (example(out=[1, 2, 2**31]), "integers of 32 bits"),
        (example(out=[1, 2, True]), "integers of 32 bits"),
        (example(out=[1, 2, [3]]), "integers of 32 bits"),
        (example(hidden=True), "expected an example that is not hidden"),
        (example(hidden=1), "expected hidden to be true or false"),
        (example(hiden=True), "example 0: expected in, out and perhaps hidden; found"),
        (example(**{"in": {"m": 1}}), r"expected \['m', 'v'\]"),
    ],
)
def test_what_is_malformed_is_refused_by_its_place(data, said):
    with pytest.raises(TaskError, match=said):
        task_of(data)


def test_a_file_that_is_no_json_is_refused(tmp_path):
    path = tmp_path / "task.json"
    for text in ("{", "[" * 100_000, "\x00", "1" * 6000):
        path.write_text(text)
        with pytest.raises(TaskError, match="expected JSON"):
            read_task(path)
    # Python would take the last of two, and nobody would know.
    text = json.dumps(TASK)
    for once, twice in (('"out":', '"out": 0, "out":'), ('"name":', '"name": "a", "name":')):
        path.write_text(text.replace(once, twice, 1))
        with pytest.raises(TaskError, match="stands twice in one object"):
            read_task(path)
    path.write_text(text)
    assert read_task(path).as_data() == TASK
