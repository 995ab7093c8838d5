"""``pxvm learn --watch``: a folder stays learned while it changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from pxvm import Network
from pxvm.learning.commands.memory import _changes
from tests.terminal.screen import called

pytest.importorskip("watchfiles", reason="needs the extra watch")


def until(holds, seconds=30):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_changes_is_learned_and_what_is_gone_is_named(tmp_path, interruptible):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "boats.md").write_text("The keel of the Molly is made of oak.\n")
    network = notes / "knowledge.png"  # its own files, in the folder, wake nobody
    command = [sys.executable, "-m", "pxvm", "learn", "--watch", "notes", "-n", str(network)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=tmp_path, env=environment
        )
        try:

            def says(text):
                if not network.exists():
                    return False
                with Network.open(network, read_only=True) as opened:
                    return [r.answer.strip() for r in opened.records()] == [text]

            until(lambda: says("The keel of the Molly is made of oak."))
            (notes / "boats.md").write_text("The keel of the Molly is made of elm.\n")
            until(lambda: says("The keel of the Molly is made of elm."))
            (notes / "loop").symlink_to("loop")  # wakes the watch, and does not end it
            (notes / "boats.md").unlink()
            until(
                lambda: (
                    "gone: notes/boats.md" in log.read_text() or "gone: boats" in log.read_text()
                )
            )
            time.sleep(1)
            runs = log.read_text().count("knowledge.png: ")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
    assert runs == 3, log.read_text()
    assert "Traceback" not in log.read_text()


def test_only_the_networks_own_files_are_passed_over(tmp_path):
    """A note may have a name that begins as the network's does."""
    network, filters = tmp_path / "k.png", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "watchfiles.watch", lambda *_, watch_filter, **__: filters.append(watch_filter)
        )
        _changes((tmp_path,), network)
    own = ["k.png", "k.p2.png", "k.g1.p2.png", "k.png.index", "k.png.lock", "k.png.cache/text.db"]
    for name in own:
        assert not filters[0](None, str(tmp_path / name)), name
    for name in ("kitchen.md", "k.md", "k.png.md", "sub/k.png"):
        assert filters[0](None, str(tmp_path / name)), name


def test_standard_input_cannot_be_watched():
    status, shown = called(["learn", "--watch", "-"])
    assert status == 2 and b"cannot be watched" in shown
