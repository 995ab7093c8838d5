import asyncio

import pytest

from pxvm.visual.session import Session
from tests.visual.samples import layers, network

pytest.importorskip("textual", reason="the terminal debugger needs pxvm[debug]")


def drive(image, *actions, size=(110, 36)):
    """Run the app, press keys or type ":commands", and return it and what the parts show."""
    from pxvm.visual.debugger import CommandInput, Debugger

    async def run():
        app = Debugger(Session(image), "sample.pxi")
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            for action in actions:
                if action.startswith(":"):
                    await pilot.press("colon")
                    app.query_one(CommandInput).value = action[1:]
                    await pilot.press("enter", "escape")
                else:
                    await pilot.press(action)
                await app.workers.wait_for_complete()
                await pilot.pause()
            parts = {
                name: str(app.query_one(f"#{name}").render())
                for name in ("status", "code", "values", "picture")
            }
            parts["title"] = str(app.query_one("#picture").border_title)
            parts["command"] = app.query_one(CommandInput).value
            parts["log"] = "\n".join(line.text for line in app.query_one("#log").lines)
            return app, parts

    return asyncio.run(run())


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
    assert app.session.position == 8 and "●▶   3 R ReLU" in parts["code"]
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


def test_the_picture_fits_and_zooms():
    _, parts = drive(network(), size=(100, 30))
    lines = parts["picture"].splitlines()
    assert 0 < len(lines) <= 20 and max(map(len, lines)) <= 50 and "▀" in lines[0]
    app, parts = drive(network(), "z", "s", size=(100, 30))
    assert app.close and "y 0.." in parts["title"]


def test_a_small_terminal_is_no_error():
    drive(network(), "s", size=(40, 14))


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
