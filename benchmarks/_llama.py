"""llama.cpp, each build in a process of its own: one that dies is told of and takes nothing along.

The peer is the installed ``llama-cpp-python``, and with ``--llama FOLDER`` also other builds of its
library: FOLDER holds ``libllama``, as ``llama_cpp/lib`` of an installation does. The default build
and one for any machine with the same vectors differ, so both should be there::

    CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON" \
        pip install --no-binary llama-cpp-python --target other llama-cpp-python
    python -m benchmarks.decode --llama other/llama_cpp/lib

The faster of them is what a ratio is taken to.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
BATCH = 512  # tokens of one pass


class PeerError(Exception):
    """A peer that does not run, or runs no more."""


class Peer:
    """A build of llama.cpp with a model, in its own process.

    Attributes: ``name``, and ``info``, what the library says of the system.
    Raises PeerError, here and from every call, where the process has ended or says so.
    """

    def __init__(self, path: Path, context: int, library: Path | None = None) -> None:
        self.name = f"llama.cpp of {library}" if library else "llama.cpp"
        other = {"LLAMA_CPP_LIB_PATH": str(library.resolve())} if library else {}
        command = [sys.executable, "-m", "benchmarks._llama", str(path), str(context)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | other
        )
        self.info: str = self._answer()

    def call(self, name: str, *arguments: Any) -> Any:
        """What a method of ``Library`` returns."""
        assert self.process.stdin is not None
        try:
            pickle.dump((name, arguments), self.process.stdin)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self._answer()

    def timed(self, name: str, *arguments: Any) -> tuple[float, float]:
        """(elapsed, processor) seconds that a method takes in its process."""
        seconds: tuple[float, float] = self.call("timed", name, *arguments)
        return seconds

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        try:
            found = pickle.load(self.process.stdout)
        except EOFError:
            status = self.process.wait()
            what = f"signal {-status}" if status < 0 else f"status {status}"
            raise PeerError(f"{self.name} ended with {what}") from None
        if isinstance(found, PeerError):
            raise PeerError(f"{self.name}: {found}")
        return found


def missing() -> str:
    """Empty, or why there is no peer."""
    for name in ("gguf", "llama_cpp"):
        if importlib.util.find_spec(name) is None:
            return f"no peer: {name} is not installed (pip install 'pxvm[bench]')"
    return ""


def peers(
    path: Path, context: int, libraries: Sequence[Path], say: Callable[[str], object]
) -> list[Peer]:
    """A peer for each build that runs, what it says of the system said; why others do not."""
    found = []
    for library in (None, *libraries):
        try:
            found.append(Peer(path, context, library))
            say(f"{found[-1].name}: {found[-1].info}")
        except PeerError as error:
            say(f"left out: {error}")
    return found


class Library:
    """A model and one context, through llama.cpp's C interface."""

    def __init__(self, path: str, context: int) -> None:
        import llama_cpp

        @llama_cpp.llama_log_callback
        def quiet(level: int, text: bytes, data: Any) -> None:
            if level == 4:  # errors; 5 continues a line
                sys.stderr.write(text.decode(errors="replace"))

        self.api, self.path, self.size, self.quiet = llama_cpp, path, context, quiet
        llama_cpp.llama_log_set(quiet, None)
        llama_cpp.llama_backend_init()
        self.model, self.context = self._open()
        vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.vocab = llama_cpp.llama_vocab_n_tokens(vocabulary)

    def _open(self) -> Any:
        wanted = self.api.llama_context_default_params()
        wanted.n_ctx, wanted.n_batch, wanted.n_ubatch = self.size, self.size, BATCH
        defaults = self.api.llama_model_default_params()
        if model := self.api.llama_model_load_from_file(self.path.encode(), defaults):
            return model, self.api.llama_init_from_model(model, wanted)
        raise PeerError(f"cannot load {self.path}")

    def info(self) -> str:
        """What the library says of the system."""
        return str(self.api.llama_print_system_info().decode(errors="replace")).strip()

    def timed(self, name: str, *arguments: Any) -> tuple[float, float]:
        """(elapsed, processor) seconds of a method."""
        begin, before = time.perf_counter(), time.process_time()
        getattr(self, name)(*arguments)
        return time.perf_counter() - begin, time.process_time() - before

    def place(self, position: int) -> None:
        """Forget what stands from a position on."""
        self.api.llama_memory_seq_rm(self.api.llama_get_memory(self.context), 0, position, -1)

    def threads(self, count: int) -> None:
        """Use so many."""
        self.api.llama_set_n_threads(self.context, count, count)

    def feed(self, ids: Sequence[int]) -> Any:
        """Take tokens in; the logits behind the last one, float32 (vocabulary,)."""
        array = (self.api.llama_token * len(ids))(*ids)
        if self.api.llama_decode(self.context, self.api.llama_batch_get_one(array, len(ids))):
            raise PeerError("llama_decode failed")
        return self._logits(-1).copy()

    def take(self, position: int, ids: Sequence[int]) -> None:
        """Take tokens in from a position on."""
        self.place(position)
        self.feed(ids)

    def decode(self, position: int, token: int, steps: int) -> None:
        """Draw so many tokens behind the first so many and one more."""
        self.place(position)
        for _ in range(steps):
            array = (self.api.llama_token * 1)(token)
            if self.api.llama_decode(self.context, self.api.llama_batch_get_one(array, 1)):
                raise PeerError("llama_decode failed")
            token = int(self._logits(-1).argmax())

    def loss(self, ids: Sequence[int]) -> float:
        """Negative log-likelihood in nats of all tokens but the first."""
        self.place(0)
        batch = self.api.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.logits[i] = token, i, 1
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        if self.api.llama_decode(self.context, batch):
            raise PeerError("llama_decode failed")
        total = 0.0
        for i, target in enumerate(ids[1:]):
            real = self._logits(i).astype(np.float64)
            total += float(np.log(np.exp(real - real.max()).sum()) + real.max() - real[target])
        self.api.llama_batch_free(batch)
        return total

    def first(self, token: int, threads: int) -> None:
        """From the file to its first token, once more."""
        kept = self.model, self.context
        self.model, self.context = self._open()
        self.threads(threads)
        self.feed([token])
        self.api.llama_free(self.context)
        self.api.llama_model_free(self.model)
        self.model, self.context = kept

    def _logits(self, at: int) -> Any:
        row = self.api.llama_get_logits_ith(self.context, at)
        return np.ctypeslib.as_array(row, (self.vocab,))


def serve(path: str, context: int) -> None:
    """Answer calls from standard input until it ends."""

    def answer(found: Any) -> None:
        pickle.dump(found, sys.stdout.buffer)
        sys.stdout.buffer.flush()

    try:
        library = Library(path, context)
    except (PeerError, ImportError, OSError, RuntimeError) as error:
        answer(PeerError(str(error)))
        return
    answer(library.info())
    while True:
        try:
            name, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer(getattr(library, name)(*arguments))
        except PeerError as error:
            answer(error)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
