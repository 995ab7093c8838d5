"""Real data: the digits example keeps the accuracy of its float networks."""

import sys

import pytest

from pxvm.core.container import check_file
from pxvm.examples import common, digits


@pytest.fixture
def demo(tmp_path, monkeypatch):
    for module in (common, digits):
        monkeypatch.setattr(module, "DEMO", tmp_path / "demo")
    monkeypatch.setattr(sys, "argv", ["digits.py", "--device", "reference"])
    return tmp_path / "demo"


def test_digits_are_recognised_as_well_as_in_float(demo, capsys):
    pytest.importorskip("sklearn")
    assert digits.main() == 0
    out = capsys.readouterr().out
    assert "mlp: 9" in out and "cnn: 9" in out
    names = {f"digits_{name}{kind}" for name in ("mlp", "cnn")
             for kind in (".pxi", ".result.png", ".view.png")}  # fmt: skip
    assert {path.name for path in demo.iterdir()} == names
    for path in demo.iterdir():
        check_file(path)


def test_without_scikit_learn_it_says_so_and_is_skipped(demo, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    assert digits.main() == 0
    out = capsys.readouterr().out
    assert out.startswith("skipped: sklearn ") and "pip install scikit-learn" in out
    assert not demo.exists()
