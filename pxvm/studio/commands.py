"""``pxvm studio``: the page in the browser."""

from __future__ import annotations

import shlex
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from pxvm.core.reading import check_regular
from pxvm.terminal import counted, echo
from pxvm.terminal.options import FILE, device_option


@click.command(short_help="A page in the browser: see programs run, talk, read the memory.")
@click.argument("files", metavar="[FILE]...", nargs=-1, type=FILE)
@click.option(
    "-n",
    "--network",
    "paths",
    type=FILE,
    multiple=True,
    help="A memory that the page reads and writes; repeatable.",
)
@click.option("--backend", help="Who answers: a server by name or address; or embedded.")
@click.option("--model", help="Which model there; without --backend a .pxi or a name.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=1236, show_default=True)
@click.option(
    "--api-key",
    "key",
    envvar="PXVM_SERVER_KEY",
    default="",
    show_envvar=True,
    help="That the page must send; it is in the address that is opened.",
)
@click.option("--allow-host", "hosts", multiple=True, help="A further name of this machine.")
@device_option("runs the model")
@click.option("--threads", type=click.IntRange(1), help="Worker threads (default: all).")
@click.option("--no-browser", is_flag=True, help="Only say where the page is.")
@click.option("--static", type=FILE, help="Write the page to this folder, for any web server.")
def studio(
    files: tuple[Path, ...],
    paths: tuple[Path, ...],
    no_browser: bool,
    static: Path | None,
    **given: Any,
) -> None:
    """Open a page that shows FILEs (programs, models, memories, plain pictures) and runs them.

    It reads what is named here and what is dropped on it, and asks nobody but this command. With
    --network it reads and changes memories as well; with --backend or --model it talks with a model
    beside those that run in the page itself.

    --static writes the page as plain files, which work wherever they are served, offline too.
    """
    if static is not None:
        if files or paths or given["backend"] or given["model"]:
            raise click.UsageError("--static writes the page alone: give no files and no options")
        _export(static)
        return
    from pxvm.integration.server.serving import Settings
    from pxvm.integration.server.serving import serve as run

    for path in files:
        check_regular(path)
    from pxvm.core import installation

    installation.library("starlette", "server")
    from pxvm.studio.site import Studio

    site = Studio(files)
    model, backend = given.pop("model"), given.pop("backend")
    nobody = model is None and backend is None
    settings = Settings("" if nobody else model, paths, backend, **given)

    def ready(url: str) -> None:
        address = url.removesuffix("v1")
        opened = f"{address}#key={quote(settings.key)}" if settings.key else address
        echo(f"the studio is at {address}; Ctrl-C ends it", err=True)
        if not no_browser and not webbrowser.open(opened):
            echo("no browser opened: go to that address", err=True)

    run(settings, ready, site)


def _export(folder: Path) -> None:
    from pxvm.studio.built import export

    names = export(folder)
    echo(
        f"wrote {counted(len(names), 'file')} to {folder}; "
        f"`python3 -m http.server --directory {shlex.quote(str(folder))}` serves them"
    )
