"""Real data: the digits example keeps the accuracy of its float networks."""

import sys

import pytest

from pxvm.core.container import check_file
from pxvm.examples import digits


def test_digits_are_recognised_as_well_as_in_float(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    arguments = ["digits.py", "--device", "reference", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert digits.main() == 0
    out = capsys.readouterr().out
    assert "mlp: 9" in out and "cnn: 9" in out
    for path in tmp_path.glob("*.png"):
        check_file(path)
    assert len(list(tmp_path.glob("*.png"))) == 6
