"""A plain web server for tests: the files of a folder, under a path, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Quiet(SimpleHTTPRequestHandler):
    """As ``python -m http.server`` serves, below a prefix, and without a line for each request.

    Python's table of types depends on the machine's; what a module needs is said here.
    """

    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".pxi": "image/png",
    }

    def __init__(self, *args: Any, prefix: str = "", **kwargs: Any) -> None:
        self.prefix = prefix
        super().__init__(*args, **kwargs)

    def translate_path(self, path: str) -> str:
        if not path.startswith(self.prefix):
            return str(Path(self.directory) / "there is no such file")
        return super().translate_path(path[len(self.prefix) :] or "/")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(folder: Path, prefix: str = "", port: int = 0) -> Iterator[str]:
    """Serve a folder on this machine; the address, which ends in a slash.

    Args:
        prefix: such as "/some/where": the page stands there, and not at the top.
        port: 0 for a free one.
    """
    handler = partial(Quiet, directory=str(folder), prefix=prefix)
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{prefix}/"
    finally:
        server.shutdown()
        server.server_close()
