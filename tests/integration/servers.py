"""Servers in other processes and threads: the real one, and one that misbehaves on purpose."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ASK = [{"role": "user", "content": "What is a pixel?"}]
PIECES = ["It is ", "made of ", "oak."]


def chunk(
    content: str | None, finish: str | None = None, delta: Any = None, scores: Any = None
) -> bytes:
    delta = delta or ({} if content is None else {"content": content})
    logprobs = {"content": scores, "refusal": None} if scores else None
    body = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(body).encode() + b"\n\n"


class Misbehaving(BaseHTTPRequestHandler):
    """Does what the model's name says. What arrived stands in ``server.asked``."""

    server: Any
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.fetched.append(dict(self.headers))
        if self.path == "/api/v0/models":  # LM Studio's own list, which tells what is loaded
            self._json(200 if self.server.loaded else 404, {"data": self.server.loaded})
        else:
            self._json(200, {"object": "list", "data": self.server.models})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        getattr(self, f"do_{self.server.fault or body['model']}")(body)

    def _json(self, status: int, value: Any) -> None:
        self._raw(status, "application/json", json.dumps(value).encode())

    def _raw(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, *pieces: bytes, pause: float = 0) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(pause)
        self.close_connection = True

    def do_script(self, _: Any) -> None:
        """What the test says: the bytes of a stream, or (status, a body of JSON)."""
        if isinstance(self.server.script, bytes):
            self._stream(self.server.script)
        else:
            status, body = self.server.script
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def do_silent(self, _: Any) -> None:
        """Says nothing until the other side hangs up."""
        self._stream(b": wait\n\n")
        self.connection.settimeout(20)
        self.server.hung_up = self.connection.recv(1) == b""

    # What a good server does, and then all the rest.

    def do_good(self, _: Any) -> None:
        self._stream(*map(chunk, PIECES), chunk(None, "stop"), b"data: [DONE]\n\n")

    def do_calls(self, _: Any) -> None:
        function = {"index": 0, "id": "c1", "type": "function",
                    "function": {"name": "weather", "arguments": "{"}}  # fmt: skip
        rest = {"index": 0, "function": {"arguments": "}"}}
        score = {"token": "{", "logprob": -0.5, "bytes": [123], "top_logprobs": []}
        self._stream(
            chunk(None, delta={"role": "assistant", "tool_calls": [function]}, scores=[score]),
            chunk(None, delta={"tool_calls": [rest]}),
            chunk(None, "tool_calls"),
            b"data: [DONE]\n\n",
        )

    def do_slow(self, _: Any) -> None:
        self._stream(*map(chunk, PIECES * 200), chunk(None, "stop"), pause=0.1)

    def do_late(self, _: Any) -> None:
        time.sleep(0.3)
        self._stream(*map(chunk, PIECES))

    def do_cut(self, _: Any) -> None:
        self._stream(chunk("It is "))

    def do_empty(self, _: Any) -> None:
        self._stream(chunk(None, "stop"), b"data: [DONE]\n\n")

    def do_mute(self, body: Any) -> None:
        """Tells what is wrong only to those who ask for no stream."""
        if body.get("stream"):
            self._stream()
        else:
            said = "Requested tokens (1007) exceed context window of 512"
            self._json(400, {"error": {"message": said}})

    def do_garbled(self, _: Any) -> None:
        self._stream(chunk("It is "), b'data: {"id": "c", "cho\n\n')

    def do_page(self, _: Any) -> None:
        self._raw(200, "text/html", b"<html>a login page</html>")

    def do_other(self, _: Any) -> None:
        self._stream(b'data: {"answer": "oak"}\n\n', b'data: {"choices": [{"x": 1}]}\n\n')

    def do_broken(self, _: Any) -> None:
        self._json(500, {"error": {"message": "out of\x1b[2J memory"}})

    def do_busy(self, _: Any) -> None:
        self._json(429, {"error": {"message": "slow down"}})

    def do_locked(self, _: Any) -> None:
        self._json(401, {"error": {"message": "bad key"}})

    def do_gone(self, _: Any) -> None:
        self._json(404, {"error": {"message": "no such model"}})

    def do_error(self, _: Any) -> None:
        self._stream(chunk("It is "), b'data: {"error": {"message": "the card fell off"}}\n\n')

    def do_drop(self, _: Any) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def do_forward(self, body: Any) -> None:
        """What stands between a server and itself under another name."""
        headers = {name: self.headers[name] for name in ("Content-Type", "X-PXVM-Hop")}
        url = self.server.target + "/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                self._raw(answer.status, answer.headers["Content-Type"], answer.read())
        except urllib.error.HTTPError as error:
            with error:
                self._raw(error.code, "application/json", error.read())

    def do_short(self, body: Any) -> None:
        """A model whose context holds few characters."""
        if len(json.dumps(body["messages"])) > self.server.context:
            said = "This model's maximum context length is 100 tokens"
            self._json(400, {"error": {"message": said, "code": "context_length_exceeded"}})
        else:
            self.do_good(body)


def asked(client, messages=ASK, memory="no-memory", **options):
    options.setdefault("max_tokens", 12)
    return client.chat.completions.create(
        model="tiny", messages=messages, extra_headers={"X-PXVM-Network": memory}, **options
    )


def raw(server, path, data=None, **headers):
    """(status, headers, text) of a request as it is."""
    url = server.url.removesuffix("/v1") + path
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


@contextmanager
def misbehaving(
    models: list[str] | None = None, context: int = 10**9, port: int = 0
) -> Iterator[Any]:
    """The server; ``.url`` is its address, ``.asked`` the requests that came."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", port), Misbehaving)
    server.daemon_threads = True
    server.models = [{"id": name, "object": "model"} for name in models or []]
    server.asked, server.context, server.fault = [], context, ""
    server.fetched, server.loaded, server.hung_up = [], [], False
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving(
    *words: object, cache: Path | None = None, command: str = "serve", **variables: str
) -> Iterator[Any]:
    """A command that serves, in a process of its own; ``.url`` is its address."""
    line = [sys.executable, "-m", "pxvm", command, "--port", "0", *map(str, words)]
    environment = {**os.environ, **variables}
    if cache is not None:
        environment["XDG_CACHE_HOME"] = str(cache)
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    assert process.stderr is not None
    try:
        said = ""
        for told in process.stderr:
            said += told
            if found := re.search(r"(http\S+); Ctrl-C", told):
                break
        else:
            raise AssertionError(said)
        listener = threading.Thread(target=process.stderr.read)
        listener.start()
        yield SimpleNamespace(url=found[1], process=process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        listener.join()
        process.stderr.close()


def cache_with_an_embedder(folder: Path) -> Path:
    """A cache folder with a small ``minilm`` and the compiled kernels that it takes."""
    from pxvm import Model
    from pxvm.cpu import kept
    from pxvm.models.download import NAMES
    from tests.models.tiny_models import write_bert

    models = folder / "pxvm" / "models"
    models.mkdir(parents=True)
    path = write_bert(models / f"minilm-{NAMES['minilm'].version}.pxi")
    with Model.open(path) as model:
        model.embed(["compiled"])
    if kept.folder().is_dir():
        shutil.copytree(kept.folder(), folder / "pxvm" / kept.folder().name)
    return folder
