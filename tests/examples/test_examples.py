"""Every example of dialect 0 as a reader runs it, from a checkout and from an installed package."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pxvm.examples import compare_cpu_gpu, demo

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("dot", "matmul", "add_relu", "font_code")
PICTURES = {
    "dot": ["dot_test"],
    "matmul": ["matmul_test"],
    "add_relu": ["add_relu_test"],
    "font_code": ["font_code_test", "hello"],
}
PRINTS = {
    "dot": "[1, 2, 3, 4] . [10, 20, 30, 40] = 300",
    "matmul": "C = A x B = [[58, 64], [139, 154]]",
    "add_relu": "relu(p + q), clamped to 0..255 = [200, 255, 33, 4]",
    "font_code": "the program wrote HELLO into its own picture",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the checkout, so that nothing is written into this one."""
    copy_package(tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def copy_package(folder: Path) -> None:
    """The package without what the examples of dialect 0 do not need."""
    leave = shutil.ignore_patterns("__pycache__", "networks", "models", "learning", "cpu")
    shutil.copytree(ROOT / "pxvm", folder / "pxvm", ignore=leave)


def example(tree: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Run pxvm/examples/NAME.py of the copy."""
    return subprocess.run(
        [sys.executable, f"pxvm/examples/{name}.py"], cwd=tree, capture_output=True, text=True
    )


def test_one_answer_on_every_executor_and_a_word_on_the_others(tree: Path):
    done = example(tree, "compare_cpu_gpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "one PNG, one answer"
    hashes = set(re.findall(r"[0-9a-f]{64}", done.stdout))
    assert len(hashes) == 1 and "reference" in done.stdout


def test_what_cannot_be_compared_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (text := tmp_path / "text.pxi").write_text("M@1@4@8")
    for path in (text, tmp_path / "none.pxi", tmp_path):
        monkeypatch.setattr(sys, "argv", ["compare_cpu_gpu.py", str(path)])
        with pytest.raises(SystemExit, match=f"cannot be compared: .*{path.name}"):
            compare_cpu_gpu.main()
    refused = np.zeros((4, 8, 4), np.uint8)
    refused[0, 0] = ord("M"), 1, 2, 9
    with pytest.raises(SystemExit, match="refused everywhere"):
        compare_cpu_gpu.compare("a wrong product", refused, ["reference"])


def test_the_dot_product_on_a_gpu_or_why_not(tree: Path):
    from pxvm.gpu.executor import available

    done = example(tree, "run_dot_test_gpu")
    if reason := available():
        assert done.returncode == 1 and "no GPU to run on: " in done.stderr, reason
        return
    assert done.returncode == 0, done.stderr
    assert PRINTS["dot"] in done.stdout and " through " in done.stdout
    assert (tree / "demo" / "dot_test_gpu.view.png").exists()


@pytest.mark.parametrize("name", NAMES)
def test_run_makes_what_is_missing_and_leaves_pictures(tree: Path, name: str):
    done = example(tree, f"run_{name}_test")
    assert (done.returncode, done.stderr) == (0, "")
    assert PRINTS[name] in done.stdout
    for picture in PICTURES[name]:
        assert f"wrote demo/{picture}.pxi" in done.stdout
        for kind in ("result", "view"):
            with Image.open(tree / "demo" / f"{picture}.{kind}.png") as image:
                assert np.asarray(image).any()


@pytest.mark.parametrize("name", NAMES)
def test_make_then_run(tree: Path, name: str):
    made = example(tree, f"make_{name}_test")
    assert (made.returncode, made.stderr) == (0, "")
    files = {path: path.read_bytes() for path in (tree / "demo").iterdir()}
    assert {path.stem for path in files} == set(PICTURES[name])
    done = example(tree, f"run_{name}_test")
    assert (done.returncode, done.stderr) == (0, "")
    assert ".pxi: a program of" not in done.stdout, "what is there is not made again"
    assert all(path.read_bytes() == data for path, data in files.items())


def listing(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_installed_package_is_not_written_to(tmp_path: Path):
    """It may belong to the system; what examples make goes to demo/ where one stands."""
    site, here = tmp_path / "site-packages", tmp_path / "here"
    site.mkdir(), here.mkdir()
    copy_package(site)
    before = listing(site)
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    code = "from pxvm.examples.pixellm import WEIGHTS; print(WEIGHTS)"
    for command in (*(["-m", f"pxvm.examples.run_{name}_test"] for name in NAMES), ["-c", code]):
        done = subprocess.run([sys.executable, *command], cwd=here, env=environment,
                              capture_output=True, text=True)  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(here / "demo" / "pixellm.npz")
    assert listing(site) == before
    made = {path.name.split(".")[0] for path in (here / "demo").iterdir()}
    assert made == {picture for pictures in PICTURES.values() for picture in pictures}


def test_the_wheel_holds_every_file_that_is_no_code():
    """As ``package-data`` says, and nothing that an example left in the checkout."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.split("[tool.setuptools.package-data]\n")[1].split("\n\n")[0]
    lines = re.findall(r'^"([^"]+)" = (\[.*\])$', section, re.MULTILINE)
    patterns = [
        f"{package.replace('.', '/')}/{pattern}"
        for package, listed in lines
        for pattern in re.findall(r'"([^"]+)"', listed)
    ]
    left_out = {"pxvm/requirements.txt", "pxvm/networks/.gitkeep"}
    for path in (ROOT / "pxvm").rglob("*"):
        name = path.relative_to(ROOT).as_posix()
        if path.is_dir() or path.suffix in (".py", ".pyc") or name in left_out:
            continue
        packed = any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        assert packed == (path.parent.name != "networks"), name


def test_the_tour_runs_examples_that_there_are():
    scripts = [command[0] for _, command in demo.STOPS]
    assert all((demo.HERE / script).is_file() for script in scripts)
    runnable = {path.name for path in demo.HERE.glob("run_*.py")}
    assert runnable < set(scripts) and len(set(scripts)) == len(scripts)


RUNNABLE = sorted(
    path.name
    for path in demo.HERE.glob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize(("option", "status"), [("-h", 0), ("--frob", 2)])
@pytest.mark.parametrize("script", RUNNABLE)
def test_every_example_explains_itself_and_refuses_what_it_does_not_know(
    script: str, option: str, status: int, monkeypatch, capsys
):
    """Before it does anything: nothing is computed here."""
    monkeypatch.setattr(sys, "argv", [script, option])
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(demo.HERE / script), run_name="__main__")
    assert ended.value.code == status
    out, err = capsys.readouterr()
    if status:
        assert out == "" and f"unrecognized arguments: {option}" in err
    else:
        module = ast.parse((demo.HERE / script).read_text(encoding="utf-8"))
        about = ast.get_docstring(module)
        assert about and about.splitlines()[0] in out


def test_the_tour_names_every_picture_that_it_left(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(demo, "DEMO", tmp_path)
    monkeypatch.setattr(demo, "NETWORK", tmp_path / "knowledge.png")
    monkeypatch.setattr(demo, "RECALLED", tmp_path / "recall.png")
    monkeypatch.setattr(demo, "CURVE", tmp_path / "curve.png")
    monkeypatch.setattr(demo, "BEFORE", tmp_path / "before.png")
    monkeypatch.setattr(demo, "AFTER", tmp_path / "after.png")
    assert demo.pictures() == []
    best = ["recall.png", "knowledge.png", "curve.png", "before.png", "after.png"]
    for name in ("b.view.png", "a.view.png", "a.result.png", *best):
        (tmp_path / name).touch()
    assert demo.pictures() == [*best, "a.view.png", "b.view.png"]


@pytest.mark.parametrize(
    ("name", "file", "x", "y"),
    [
        ("dot", "dot_test", 2, 1),
        ("matmul", "matmul_test", 4, 4),
        ("add_relu", "add_relu_test", 0, 1),
        ("add_relu", "add_relu_test", 7, 4),
        ("font_code", "font_code_test", 5, 1),
        ("font_code", "hello", 3, 1),
    ],
)
def test_a_wrong_result_fails_loudly(tree: Path, name: str, file: str, x: int, y: int):
    assert example(tree, f"make_{name}_test").returncode == 0
    path = tree / "demo" / f"{file}.pxi"
    with Image.open(path) as picture:
        image = np.array(picture)
    image[y, x, 0] ^= 5
    Image.fromarray(image).save(path, "PNG")
    done = example(tree, f"run_{name}_test")
    assert done.returncode == 1
    assert done.stderr.startswith("WRONG: ") and "expected" in done.stderr


def test_requirements_are_those_of_the_package():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"^dependencies = \[([^]]*)\]", project, re.MULTILINE)
    assert found is not None
    wanted = re.findall(r'"([^"]+)"', found[1])
    for extra in ("bridge", "cpu", "models"):  # what the learning loop takes
        found = re.search(rf"^{extra} = \[([^]]*)\]", project, re.MULTILINE)
        assert found is not None
        wanted += re.findall(r'"([^"]+)"', found[1])
    lines = (ROOT / "pxvm/requirements.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(line for line in lines if line and not line.startswith("#")) == sorted(wanted)
