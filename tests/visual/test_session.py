import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pxvm.core.errors import ExecutionError, PxvmError
from pxvm.core.machine import Machine
from pxvm.visual.breakpoints import CommandError
from pxvm.visual.session import COMMANDS, Session
from tests.strategies import programs, to_array
from tests.visual.samples import SAMPLES, answering, layers, network, product


def states(image):
    """The image after 0, 1, 2, ... steps, by a machine that only runs forward."""
    machine = Machine(image)
    found = [image.copy()]
    try:
        while machine.step():
            found.append(image.copy())
    except ExecutionError:
        pass
    return found


def shown(session, commands):
    return [output for _, output in session.script(commands)]


@pytest.mark.parametrize("spacing", [1, 2, 3, 64])
@pytest.mark.parametrize("name", SAMPLES)
def test_every_moment_can_be_revisited(name, spacing):
    expected = states(SAMPLES[name]())
    session = Session(SAMPLES[name](), spacing=spacing)
    session.goto(len(expected))
    assert session.position == len(expected) - 1 and session.machine.halted
    for position in [*range(len(expected) - 1, -1, -1), *range(len(expected))]:
        session.goto(position)
        assert session.position == position
        assert session.image.tobytes() == expected[position].tobytes()


def walks(name, image, moves, **how):
    expected = states(image.copy())
    session = Session(image, **how)
    position = 0
    for move in moves:
        if move >= 0:
            for _ in range(move):
                try:
                    session.step()
                except ExecutionError:
                    break
            position = min(len(expected) - 1, position + move)
        else:
            session.goto(position + move)
            position = max(0, position + move)
        assert session.position == position
        assert (session.image == expected[position]).all()
        restored = Machine(session.image.copy())
        if name == "network":  # a state in the pixels: any moment resumes by itself
            restored.run()
            assert (restored.image == expected[-1]).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-30, 30), max_size=8), st.integers(1, 9), st.integers(0, 2000))
def test_walks_through_a_loop_match_a_plain_replay(moves, spacing, budget):
    walks("network", network(3, 8, 32), moves, spacing=spacing, budget=budget)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(), st.lists(st.integers(-6, 6), max_size=8), st.integers(1, 4))
def test_walks_through_any_program_match_a_plain_replay(drawn, moves, spacing):
    walks("any", to_array(drawn), moves, spacing=spacing)


def test_memory_follows_the_changes():
    session = Session(network(60, 4, 16), spacing=8, budget=4096)
    session.resume()
    history = session.history
    assert session.position > 250 and history._bytes() <= 4096 + 16 * 8 * 64
    assert len(history._recent) < 16 and len(history._stretches) < 32
    session.goto(0)
    assert (session.image == network(60, 4, 16)).all()


def test_breakpoints_on_an_opcode_stop_before_each_round_of_a_loop():
    session = Session(network(3))
    assert shown(session, "break relu")[0] == "breakpoint 1: before every ReLU"
    for position in (3, 8, 13):
        assert session.resume() == "breakpoint 1: before every ReLU"
        assert session.position == position and session.next.op.name == "ReLU"
    assert session.resume() == "halted"
    for position in (13, 8, 3):
        assert session.reverse().startswith("breakpoint 1")
        assert session.position == position
    assert session.reverse() == "at the start" and session.position == 0


def test_breakpoints_on_an_instruction_and_its_glyph():
    session = Session(layers())
    shown(session, "break 2; break A; c")
    assert session.position == 2
    shown(session, "c")
    assert session.position == 3 and session.next.op.glyph == "A"


def test_breakpoints_on_a_region_stop_after_it_changed():
    session = Session(network(2))
    shown(session, "break region best; continue")
    assert session.last[0].op.name == "Argmax" and session.next.op.name == "Halt"
    other = Session(layers())
    shown(other, "break @5; c")
    assert other.position == 1


def test_breakpoints_on_a_value_stop_when_it_becomes_true():
    session = Session(network(4))
    assert "if x[0,0] > 20" in shown(session, "break if x[0,0] > 20; c")[1]
    here = session.position
    assert session.program.region("x").values(session.image)[0, 0] > 20
    session.back()
    assert session.program.region("x").values(session.image)[0, 0] <= 20
    session.goto(here)
    assert session.resume() == "halted"


def test_continue_stops_at_yield_and_goes_on_from_there():
    session = Session(answering(2))
    outputs = shown(session, "step 3; continue; step; continue; continue; reverse")
    assert outputs[0].endswith("yielded after 3 steps") and session.ended == ""
    assert outputs[1].splitlines()[0] == "yielded"
    assert outputs[3].splitlines()[0] == "halted" and outputs[4].startswith("halted")
    assert session.position == 0


def test_the_file_that_is_debugged_is_not_written(tmp_path):
    from pxvm.core.container import save_image

    save_image(product(), tmp_path / "p.pxi")
    before = (tmp_path / "p.pxi").read_bytes()
    (tmp_path / "link.pxi").symlink_to("p.pxi")
    session = Session(product(), source=tmp_path / "p.pxi")
    for name in ("p.pxi", "link.pxi", "missing/q.pxi"):
        with pytest.raises((PxvmError, OSError), match=r"same file|no folder"):
            session.execute(f"save {tmp_path / name}")
    assert (tmp_path / "p.pxi").read_bytes() == before


def test_commands_from_the_handbook():
    session = Session(product())
    outputs = shown(session, "step; step; back; watch @3; break MatMul; continue; print @3")
    assert outputs[0].startswith("step 1: M@1@2@3 MatMul, 5 pixels changed")
    assert outputs[1] == "halted after 1 step"
    assert outputs[2].splitlines()[1] == "step 0, next 0: M@1@2@3 MatMul  @1 @2 > @3"
    assert outputs[3].splitlines() == ["@3: 2 x 2, all 0"]
    assert outputs[6].splitlines() == ["@3: 2 x 2, 58 .. 154", "   58  64", "  139 154"]


def test_parts_of_regions():
    session = Session(product())
    outputs = shown(session, "s; p @3[1,0]; p @3[0]; p @3[:,1]; p @3[-1,-1]")
    assert outputs[1:] == [
        "@3[1,0] = 139",
        "@3[0]: 2, 58 .. 64\n  58 64",
        "@3[:,1]: 2, 64 .. 154\n   64 154",
        "@3[-1,-1] = 154",
    ]


def test_the_listing_marks_the_place_and_the_breakpoints():
    session = Session(layers())
    lines = shown(session, "break 1; step; list")[2].splitlines()
    assert lines[0].startswith("     0  M@") and lines[1].startswith(">*   1  R@")
    names = session.operand_names(session.program.instructions[0])
    assert lines[0].endswith(names) and " > " in names


def test_changes_of_the_last_step_by_region():
    session = Session(product())
    assert shown(session, "changes") == ["nothing has run yet"]
    assert shown(session, "step; changes")[1].splitlines()[1].split() == ["5", "@3"]


def test_large_values_are_shades():
    session = Session(network(1, 64))
    lines = shown(session, "print 0.w")[0].splitlines()
    assert lines[0].startswith("0.w: 64 x 64, -90 .. 89") and len(lines) <= 13
    assert any(set("░▒▓█") & set(line) for line in lines)


def test_a_saved_moment_can_be_opened(tmp_path):
    from pxvm.core.container import open_image

    session = Session(network(2))
    shown(session, f"step 4; save {tmp_path / 'moment.pxi'}")
    machine = Machine(open_image(tmp_path / "moment.pxi"))
    machine.run()
    assert (machine.image == states(network(2))[-1]).all()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("fly", "unknown command 'fly'; there are step"),
        ("step many", "expected a number of steps"),
        ("print @9", "no region is called '@9'"),
        ("print @3[5,5]", "@3 is 2 x 2; no such element"),
        ("print @3[a]", "no region is called"),
        ("print @3[-]", "expected an index"),
        ("break 7", "numbered 0..1"),
        ("break Nothing", "no region is called 'Nothing'"),
        ("break if @3[0,0] > 5.5.5", "expected a number"),
        ("delete 3", "there are none"),
        ("unwatch @3", "there are none"),
        ("goto end", "goto takes a number"),
        ("save", "save takes a file name"),
    ],
)
def test_commands_that_cannot_be_understood_say_why(command, message):
    session = Session(product())
    with pytest.raises(PxvmError) as error:
        session.execute(command)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert issubclass(CommandError, ValueError)


def test_an_instruction_that_fails_changes_nothing():
    image = layers()
    image[0, 2, 2] = image[0, 2, 1]
    session = Session(image)
    shown(session, "step 2")
    before = image.copy()
    with pytest.raises(ExecutionError, match="instruction 2"):
        session.execute("continue")
    assert session.position == 2 and (image == before).all()
    session.goto(0)
    assert session.position == 0


def test_every_command_has_help_and_a_method():
    text = Session(product()).execute("help")
    for name in COMMANDS:
        assert name in text and hasattr(Session, f"_do_{name}")


def test_a_mapped_image_is_debugged_in_place(tmp_path):
    from pxvm.core.container import open_image, save_image

    save_image(network(), tmp_path / "mapped.pxi", layout="mappable")
    image = open_image(tmp_path / "mapped.pxi")
    session = Session(image, spacing=3)
    expected = states(network())
    session.resume()
    assert (np.asarray(image) == expected[-1]).all()
    session.goto(5)
    assert (np.asarray(image) == expected[5]).all()
