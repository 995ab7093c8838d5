import asyncio

import numpy as np
import pytest

from pxvm.core.layout import NetworkBuilder
from pxvm.core.tensor import DType, Role
from pxvm.visual.session import Session
from tests.visual.samples import answering, layers, network

pytest.importorskip("textual", reason="the terminal debugger needs pxvm[debug]")


def drive(image, *actions, size=(110, 36), each=None):
    """Run the app, press keys, type ":commands", resize to (columns, rows); it and what it shows.

    ``each`` is given what it shows after every action. "screen" is what stands on the terminal,
    line by line.
    """
    from pxvm.visual.debugger import CommandInput, Debugger

    async def act(app, pilot, action):
        if isinstance(action, tuple):
            await pilot.resize_terminal(*action)
        elif action.startswith(":"):
            await pilot.press("colon")
            app.query_one(CommandInput).value = action[1:]
            await pilot.press("enter", "escape")
        else:
            await pilot.press(action)
        await app.workers.wait_for_complete()
        await pilot.pause()

    async def run():
        app = Debugger(Session(image), "sample.pxi")
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            for action in actions:
                await act(app, pilot, action)
                if each:
                    each(parts_of(app))
            return app, parts_of(app)

    return asyncio.run(run())


def parts_of(app):
    names = ("status", "code", "values", "picture")
    strips = app.screen._compositor.render_strips()
    changes = app.session.last[1] if app.session.last else None
    return {name: str(app.query_one(f"#{name}").render()) for name in names} | {
        "box": app.window.box,
        "focus": (int(np.median(changes.xs)), int(np.median(changes.ys))) if changes else None,
        "title": str(app.query_one("#picture").border_title),
        "command": app.query_one("#command").value,
        "log": "\n".join(line.text for line in app.query_one("#log").lines),
        "screen": ["".join(segment.text for segment in strip) for strip in strips],
    }


def test_keys_step_forward_and_back():
    before = layers()
    app, parts = drive(before.copy(), "s", "s", "b")
    assert app.session.position == 1
    assert "step 1" in parts["status"] and "sample.pxi" in parts["status"]
    current = next(line for line in parts["code"].splitlines() if "▶" in line)
    assert "ReLU" in current
    app, _ = drive(before.copy(), "s", "s", "b", "b")
    assert (app.session.image == before).all()


def test_commands_set_breakpoints_and_watches():
    app, parts = drive(network(3), ":break ReLU", ":watch x", "c", "c")
    assert app.session.position == 8 and "●▶  3 R ReLU" in parts["code"]
    assert parts["values"].startswith("x  1 x 16")
    assert "> break ReLU" in parts["log"] and "breakpoint 1" in parts["log"]
    assert "x:" not in parts["log"].split("> continue")[1], "watches have their own pane"


def test_reverse_and_start():
    app, _ = drive(network(3), ":break ReLU", ":continue", ":continue", "r", "0")
    assert app.session.position == 0


def test_a_wrong_command_is_told_and_nothing_ends():
    app, parts = drive(layers(), ":fly", "s")
    assert "unknown command 'fly'" in parts["log"] and app.session.position == 1


def test_the_last_result_is_shown_while_nothing_is_watched():
    app, parts = drive(layers(), "s")
    (name,) = [r.name for m, r in app.session.machine.operands(app.session.last[0]) if m.writes]
    assert parts["values"].startswith(f"{name}  2 x 7")
    assert "nothing is watched" in drive(layers())[1]["values"]


def test_the_whole_picture_fits():
    _, parts = drive(network(), size=(100, 30))
    lines = parts["picture"].splitlines()
    assert 0 < len(lines) <= 20 and max(map(len, lines)) <= 40 and "▀" in lines[0]
    assert parts["title"] == "Picture 1:2"


def test_the_picture_is_enlarged_around_what_changed_and_moved():
    image, seen = network(), []
    keys = ["s", "s", "plus", "plus", "shift+right", "j", "b", "minus", "minus", "minus"]
    drive(image, *keys, size=(100, 30), each=seen.append)
    whole = (0, 0, 64, len(image))
    assert seen[1]["box"] == whole and seen[1]["title"] == "Picture 1:2"
    titles = [parts["title"].partition(",")[0] for parts in seen[2:]]
    assert titles == [f"Picture {scale}" for scale in ("1:1", *["2:1"] * 4, "1:1", "1:2", "1:2")]
    x0, y0, x1, y1 = seen[3]["box"]
    x, y = seen[3]["focus"]
    assert x0 <= x < x1 and y0 <= y < y1 and (x1 - x0, y1 - y0) < (64, len(image))
    across, along = (np.subtract(seen[n]["box"], seen[n - 1]["box"]).tolist() for n in (4, 5))
    assert across[0] == across[2] > 0 == across[1] and along[0] == along[2] == 0 <= along[1]
    x0, y0, x1, y1 = seen[6]["box"]
    x, y = seen[6]["focus"]
    assert x0 <= x < x1 and y0 <= y < y1, "after a step the picture follows it again"
    assert seen[-1]["box"] == whole


def test_zooming_ends_at_single_pixels_and_at_the_whole():
    app, parts = drive(layers(), *["minus"] * 3, *["plus"] * 30)
    x0, y0, x1, y1 = app.window.box
    assert 1 <= x1 - x0 <= 16 and 1 <= y1 - y0 <= 16
    lines = parts["picture"].splitlines()
    assert lines and all("▀" in line for line in lines)


def long_names():
    """Twelve instructions whose operands are far wider than a small terminal."""
    builder = NetworkBuilder(64)
    names = [f"a_tensor_of_a_long_name{n}" for n in range(4)]
    for n, name in enumerate(names):
        builder.tensor(name, DType.I32, (3, 4), Role.STATE, data=np.full((3, 4), n))
    for n in range(12):
        builder.emit("Add", *(names[(n + k) % 4] for k in range(3)))
    return builder.build()


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (120, 40)])
def test_the_current_line_is_always_seen(size):
    current = []

    def look(parts):
        assert len(parts["screen"]) == size[1]
        shown = [line for line in parts["screen"] if " A Add " in line or " H Halt " in line]
        assert len(shown) == len(parts["code"].splitlines()), "no line is broken in two"
        current.extend(line.split()[2:4] for line in parts["screen"] if "▶" in line)

    drive(long_names(), *["s"] * 11, size=size, each=look)
    assert current == [[str(n), "A"] for n in range(1, 12)]


def test_all_keys_have_room_on_eighty_columns():
    line = drive(layers(), "s", "b", "s", size=(80, 24))[1]["screen"][-1]
    assert "s Step" in line and "esc Stop" in line and "q Quit" in line


def test_a_resized_terminal_is_filled():
    seen = []
    drive(long_names(), "s", (150, 50), (80, 24), size=(80, 24), each=seen.append)
    small, large, again = seen
    assert len(large["code"].splitlines()) > len(small["code"].splitlines())
    for part in ("code", "picture"):
        assert max(map(len, large[part].splitlines())) > max(map(len, small[part].splitlines()))
    assert again["screen"] == small["screen"]


def test_a_small_terminal_shows_the_current_line():
    app, parts = drive(network(), "s", size=(40, 14))
    assert app.session.position == 1
    assert any("▶" in line for line in parts["screen"])


def test_a_yield_is_told():
    app, parts = drive(answering(), "c")
    assert app.session.position == 3 and "yielded" in parts["status"]


def test_earlier_commands_come_back():
    _, parts = drive(layers(), ":where", ":list", "colon", "up", "up")
    assert parts["command"] == "where"


def test_the_command_line_ends_the_app():
    from pxvm.visual.debugger import Debugger

    async def run():
        app = Debugger(Session(layers()))
        async with app.run_test() as pilot:
            await pilot.press("colon", "q", "enter")
        return app

    assert asyncio.run(run()).return_code == 0
