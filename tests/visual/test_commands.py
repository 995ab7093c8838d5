import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from PIL import Image as Pillow

from pxvm.core.container import save_image
from pxvm.core.errors import PxvmError
from pxvm.visual import commands
from tests.visual.samples import layers, network, product


@pytest.fixture
def files(tmp_path):
    for sample in (product, layers, network):
        save_image(sample(), tmp_path / f"{sample.__name__}.pxi")
    return tmp_path


def run(command, *arguments):
    result = CliRunner().invoke(command, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_view_writes_a_picture_and_says_what_is_in_it(files):
    result = run(commands.view, files / "product.pxi", "--json")
    found = json.loads(result.output)
    assert [r["name"] for r in found["regions"]] == ["code", "@1", "@2", "@3"]
    with Pillow.open(found["output"]) as picture:
        assert picture.size == (found["width"], found["height"])


def test_view_scales_and_runs_first(files):
    target = files / "out.png"
    result = run(commands.view, files / "product.pxi", "-o", target, "--scale", 8, "--run")
    assert result.output.startswith(f"wrote {target}: ")
    plain = run(commands.view, files / "product.pxi", "--scale", 8).output
    assert target.read_bytes() != (files / "product.view.png").read_bytes() and plain


def test_trace_prints_a_table_and_writes_the_animation(files):
    result = run(commands.trace, files / "layers.pxi")
    assert "MatMul" in result.output and "halted after 4 steps" in result.output
    with Pillow.open(files / "layers.trace.png") as picture:
        assert picture.n_frames == 5


def test_trace_json(files):
    result = run(commands.trace, files / "network.pxi", "--json", "--no-picture", "--max-steps", 7)
    found = json.loads(result.output)
    assert len(found["steps"]) == 7 and found["stopped"] == "max_steps"
    assert found["output"] is None and found["steps"][2]["writes"] == ["h"]


def test_trace_of_a_failing_run_prints_what_went_before(files):
    image = layers()
    image[0, 2, 2] = image[0, 2, 1]
    save_image(image, files / "broken.pxi")
    result = CliRunner().invoke(commands.trace, [str(files / "broken.pxi"), "--no-picture"])
    assert isinstance(result.exception, PxvmError) and "ReLU" in result.output


def test_diff_tells_by_its_status(files):
    same = run(commands.diff, files / "product.pxi", files / "product.pxi")
    assert same.exit_code == 0 and "equal" in same.output
    other = run(
        commands.diff, files / "product.pxi", files / "layers.pxi", "-o", files / "d.png", "--json"
    )
    found = json.loads(other.output)
    assert other.exit_code == 1 and not found["same"] and found["output"].endswith("d.png")
    assert (files / "d.png").exists()


def test_debug_scripts(files):
    result = run(commands.debug, files / "product.pxi", "--commands", "step; print @3[0,1]")
    assert "> step\nstep 1: M@1@2@3" in result.output and "@3[0,1] = 64" in result.output
    result = run(commands.debug, files / "product.pxi", "--commands", "step;where", "--json")
    assert json.loads(result.output)[1] == {"command": "where", "output": "step 1, halted"}


def test_debug_without_textual_says_what_to_install(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.delitem(sys.modules, "pxvm.visual.debugger", raising=False)
    with pytest.raises(PxvmError, match=r"pip install 'pxvm\[debug\]'"):
        run(commands.debug, files / "product.pxi")


def test_help_documents_the_json(files):
    for command in (commands.view, commands.trace, commands.diff, commands.debug):
        assert "--json prints" in run(command, "--help").output


def test_nothing_heavy_is_imported_for_help():
    code = (
        "import sys, pxvm.visual.commands\n"
        "heavy = {'numpy', 'PIL', 'rich', 'textual'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
