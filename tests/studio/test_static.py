"""The page as plain files: written again, over what others have, and kept for offline use."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pxvm.cli import cli
from pxvm.studio import built
from tests.studio.serving import serving as plain_server


def exported(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(cli, ["studio", "--static", str(folder), *words])


def test_the_page_is_written_as_plain_files_and_again(tmp_path):
    folder = tmp_path / "my site 100%"
    done = exported(folder)
    assert done.exit_code == 0 and "http.server --directory '" in done.output
    listing = json.loads((folder / built.LISTING).read_text())
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == {*listing, built.LISTING} > built.page().keys()
    # What an earlier version left goes, what somebody has or made of it stays.
    old = {"assets/old.js": "left", "assets/changed.js": "left as well", "../x": "theirs"}
    for name, text in old.items():
        (folder / name).write_text(text)
    hashes = {name: built._integrity(text.encode()) for name, text in old.items()}
    (folder / built.LISTING).write_text(json.dumps({**listing, **hashes, "no\0name": "x"}))
    (folder / "mine.txt").write_text("stays")
    (folder / "assets/changed.js").write_text("mine by now")
    (folder / "icon.png").unlink()
    assert exported(folder).exit_code == 0
    assert not (folder / "assets/old.js").exists() and (folder / "icon.png").exists()
    for name in ("mine.txt", "assets/changed.js", "../x"):
        assert (folder / name).exists()
    assert json.loads((folder / built.LISTING).read_text()) == listing


def test_folders_of_others_stay_as_they_are(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    done = exported(tmp_path)
    assert "holds files, and no page" in str(done.exception) and len(list(tmp_path.iterdir())) == 1
    done = exported(tmp_path / "mine.txt")
    assert "a file stands there" in str(done.exception)
    folder = tmp_path / "site"
    exported(folder)
    listing = json.loads((folder / built.LISTING).read_text())
    del listing["icon.png"]
    (folder / built.LISTING).write_text(json.dumps(listing))
    assert exported(folder).exit_code == 0  # it is what would be written
    for text in ("[1]", '{"icon.png": 3}', "{"):
        (folder / built.LISTING).write_text(text)
        assert "is damaged" in str(exported(folder).exception)
    assert exported(tmp_path / "new", "file.pxi").exit_code == 2


#: A page of few files: every one that is written is waited for.
SMALL = {"index.html": b"<head></head>", "assets/a.js": b"a", "licenses.md": b"l", "rooms.js": b"r"}


@pytest.mark.parametrize("what", ["changed", "folder", "link", "link to none", "file for folder"])
def test_nothing_of_theirs_is_overwritten(what, tmp_path, monkeypatch):
    folder, theirs = tmp_path / "site", tmp_path / "theirs.html"
    monkeypatch.setattr(built, "page", lambda: dict(SMALL))
    exported(folder)
    new = {**SMALL, "index.html": b"<head></head>newer"}
    if what == "file for folder":
        new["more/a.js"] = b"a"
        (folder / "more").write_text("theirs")
    else:
        (folder / "index.html").unlink()
    if what == "changed":
        (folder / "index.html").write_text("theirs")
    elif what == "folder":
        (folder / "index.html").mkdir()
    elif what == "link":
        theirs.write_text("theirs")
        (folder / "index.html").symlink_to(theirs)
    elif what == "link to none":
        (folder / "index.html").symlink_to(theirs)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(built, "page", lambda: dict(new))
    assert "in the way" in str(exported(folder).exception)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert theirs.exists() == (what == "link")


def test_an_export_that_was_interrupted_is_ended_by_the_next_one(tmp_path, monkeypatch):
    folder, written = tmp_path / "site", built._write
    monkeypatch.setattr(built, "page", lambda: dict(SMALL))
    exported(folder)

    def interrupted(folder, name, data):
        if name == "rooms.js":
            raise KeyboardInterrupt
        written(folder, name, data)

    newer = {name: data + b" " for name, data in SMALL.items() if name != "licenses.md"}
    newest = {name: data + b"  " for name, data in SMALL.items()}
    for page, write in ((newer, interrupted), (newest, written)):
        monkeypatch.setattr(built, "page", lambda page=page: dict(page))
        monkeypatch.setattr(built, "_write", write)
        done = exported(folder)
    assert done.exit_code == 0
    assert (folder / "rooms.js").read_bytes() == newest["rooms.js"]


def until(found: Callable[[], bool]) -> bool:
    """Whether something is so within some seconds."""
    deadline = time.monotonic() + 20
    while not found():
        if time.monotonic() > deadline:
            return False
    return True


def controlled(page: Any) -> None:
    """Wait until the service worker answers for the page."""
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.wait_for_function("() => navigator.serviceWorker.controller")


@pytest.mark.short
def test_the_static_page_opens_without_a_network(browser, tmp_path):
    exported(tmp_path / "site")
    context = browser.new_context()
    page = context.new_page()
    with plain_server(tmp_path / "site", "/some%20where/100%25") as address:
        page.goto(address)
        controlled(page)
        title = page.title()
        assert page.evaluate("async () => (await caches.keys()).length") == 1
    page.goto(address)  # the server is gone
    assert page.title() == title
    for name in built.page():
        assert page.evaluate("async (name) => (await fetch(name)).status", name) == 200
    context.close()


def test_a_newer_page_replaces_the_older_one_and_breaks_none_that_is_open(
    browser, tmp_path, monkeypatch
):
    whole = built.page()
    status = "async (name) => (await fetch(name)).status"
    age_of = "() => document.querySelector('[name=age]').content"
    context = browser.new_context()
    page = context.new_page()
    with plain_server(tmp_path / "site") as address:
        for name in ("old", "new"):
            age = f'<head><meta name="age" content="{name}">'
            index = whole["index.html"].replace(b"<head>", age.encode())
            version = {**whole, "index.html": index, f"assets/{name}.js": b""}
            monkeypatch.setattr(built, "page", lambda version=version: dict(version))
            exported(tmp_path / "site")
            if name == "old":
                page.goto(address)
                controlled(page)
        later = time.time() + 2  # dates of a server are whole seconds, and a browser asks by them
        for file in (tmp_path / "site").rglob("*"):
            os.utime(file, (later, later))
        page.evaluate("async () => (await navigator.serviceWorker.getRegistration()).update()")
        waiting = "async () => !!(await navigator.serviceWorker.getRegistration()).waiting"
        assert until(lambda: page.evaluate(waiting))
        assert page.evaluate(status, "assets/old.js") == 200  # what it has not needed yet
        other = context.new_page()
        other.goto(address)
        assert (page.evaluate(age_of), other.evaluate(age_of)) == ("old", "new")
        page.close()
        other.close()
        last = context.new_page()

        def alone() -> bool:
            last.goto("about:blank")  # the older one may answer as long as it has a page
            last.wait_for_timeout(200)
            last.goto(address)
            return last.evaluate("async () => (await caches.keys()).length") == 1

        assert until(alone)
        # A browser keeps for a while, unasked, what has not changed for long.
        os.utime(tmp_path / "site/index.html", (0, 0))
        last.goto(address)
    assert last.evaluate(age_of) == "new" and last.evaluate(status, "assets/new.js") == 200
    # Where somebody else's page stands by now, it is seen.
    (tmp_path / "other").mkdir()
    (tmp_path / "other/index.html").write_text("<title>another</title>")
    with plain_server(tmp_path / "other", port=int(address.split(":")[2].strip("/"))) as address:
        last.goto(address)
        assert last.title() == "another"
    context.close()
