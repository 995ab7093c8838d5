"""``pxvm serve`` and ``pxvm mcp``: the memory for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pxvm.learning.commands.shared import network_option
from pxvm.terminal import echo
from pxvm.terminal.options import FILE, device_option


@click.command(short_help="Serve a model, with a memory, as OpenAI's protocol.")
@click.argument("model", required=False)
@click.option(
    "-n",
    "--network",
    "paths",
    type=FILE,
    multiple=True,
    help="A memory for what is asked; repeat it, and a request chooses.",
)
@click.option("--backend", help="A server behind this one, by name or address.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=1235, show_default=True)
@click.option(
    "--api-key",
    envvar="PXVM_SERVER_KEY",
    default="",
    show_envvar=True,
    help="That clients must send.",
)
@click.option("--allow-host", "hosts", multiple=True, help="A further name of this machine.")
@click.option("--allow-origin", "origins", multiple=True, help="Of pages that may ask.")
@device_option("runs the model")
@click.option("--threads", type=click.IntRange(1), help="Worker threads (default: all).")
@click.option("--context", type=click.IntRange(2), help="Tokens (default: the model's).")
@click.option(
    "--slots",
    type=click.IntRange(1, 32),
    default=8,
    show_default=True,
    help="Answers that are computed together.",
)
@click.option(
    "--queue",
    type=click.IntRange(0),
    default=64,
    show_default=True,
    help="Answers that wait; others are refused for now.",
)
@click.option(
    "--max-body",
    "body",
    type=click.IntRange(1024),
    default=8 << 20,
    show_default=True,
    help="Bytes of a request.",
)
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(0.1),
    default=600.0,
    show_default=True,
    help="Seconds until an answer is ended.",
)
def serve(model: str | None, paths: tuple[Path, ...], **given: Any) -> None:  # fmt: skip
    """Serve MODEL (a .pxi or a name), or with --backend the server behind, to any OpenAI client.

    With --network the assistant remembers: what is known of a question goes along with it, and each
    finished exchange is stored. The header X-PXVM-Network, or the field "network", chooses one by
    its file's name without the ending; "no-memory" leaves it out.
    """
    from pxvm.integration.server.serving import Settings
    from pxvm.integration.server.serving import serve as run

    options = {"key": given.pop("api_key"), **given}
    run(
        Settings(model, paths, **options),
        lambda url: echo(f"serving {url}; Ctrl-C ends it", err=True),
    )


@click.command(short_help="Offer a memory to assistants (MCP).")
@network_option
@click.option("--read-only", is_flag=True, help="Only search; nothing is written.")
def mcp(path: Path, read_only: bool) -> None:
    """Serve the network as tools of the Model Context Protocol, over standard input and output.

    Assistants such as LM Studio start this command themselves; see LM_STUDIO_README.md.
    """
    from pxvm.core import installation

    installation.library("mcp", "mcp")
    from pxvm.integration.tools import run

    run(path, read_only)
