import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from PIL import Image as Pillow

from pxvm.core.container import save_image
from pxvm.core.errors import PxvmError
from pxvm.visual import commands
from tests.visual.samples import answering, layers, network, product


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


def test_trace_ends_at_yield_unless_more_runs_are_asked_for(files):
    save_image(answering(), files / "answers.pxi")
    once = run(commands.trace, files / "answers.pxi", "--no-picture")
    assert "yielded after 3 steps; more --runs go on from there" in once.output
    more = run(commands.trace, files / "answers.pxi", "--no-picture", "--runs", 3, "--json")
    found = json.loads(more.output)
    assert found["stopped"] == "yielded" and len(found["steps"]) == 9
    short = run(commands.trace, files / "answers.pxi", "--no-picture", "--max-steps", 1)
    assert "stopped after 1 step, the most that --max-steps allows" in short.output


def test_one_is_no_plural(files):
    assert "halted after 1 step\n" in run(commands.trace, files / "product.pxi").output
    image = product()
    image[0, 0] = 72, 0, 0, 0
    save_image(image, files / "halt.pxi")
    output = run(commands.trace, files / "halt.pxi").output
    assert "halted after 0 steps" in output and "1 frame\n" in output


@pytest.mark.parametrize("command", ["view", "trace", "diff"])
def test_no_picture_goes_over_what_is_read(files, command):
    path = files / "product.pxi"
    before = path.read_bytes()
    more = [files / "layers.pxi"] * (command == "diff")
    for target, message in ((path, "same file"), (files / "no" / "where.png", "no folder")):
        with pytest.raises((PxvmError, OSError), match=message):
            run(getattr(commands, command), path, *more, "-o", target)
    assert path.read_bytes() == before


def test_a_comparison_of_runs_has_no_picture(files):
    paths = [files / "product.pxi"] * 2
    assert run(commands.diff, *paths, "--run", 3, "-o", files / "d.png").exit_code == 2


def in_a_process(code, *arguments, terminal=False):
    """(exit status, output) of Python code, with a terminal or with none."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    if not terminal:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        return done.returncode, (done.stdout + done.stderr).decode()
    pty = pytest.importorskip("pty", reason="there are terminals to open on Unix only")
    leader, follower = pty.openpty()
    done = subprocess.run(
        command, stdin=follower, stdout=follower, stderr=subprocess.PIPE, timeout=60
    )
    os.close(leader), os.close(follower)
    return done.returncode, done.stderr.decode()


MAIN = "import sys; from pxvm.cli import main; sys.argv[0] = 'pxvm'; main()"


def test_debug_without_a_terminal_ends_in_one_line(files):
    status, output = in_a_process(MAIN, "debug", files / "product.pxi")
    assert status == 2 and output.count("\n") == 1
    assert "the debugger needs a terminal" in output and "--commands" in output


def test_debug_without_textual_says_what_to_install(files):
    code = "import sys; sys.modules['textual'] = None; " + MAIN
    status, output = in_a_process(code, "debug", files / "product.pxi", terminal=True)
    assert status == 2 and output.count("\n") == 1
    assert "pip install textual" in output and '--commands "step; back" works without' in output


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
