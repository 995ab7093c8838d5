"""A language model or an embedder in one picture, ready to use.

>>> from pxvm import Model
>>> m = Model.open("smollm2.pxi")
>>> m.chat([{"role": "user", "content": "What is the capital of France?"}])
>>> m.save_state("half.pxi"); Model.resume("half.pxi", device="reference").proceed()
>>> Model.open("minilm").embed(["one sentence", "another"])  # (2, 384) float32
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from errno import ENOENT
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from pxvm.core import choices, executors
from pxvm.core.container import PathLike, open_image, save_image
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import PxvmError
from pxvm.core.png import SIGNATURE
from pxvm.core.program import Image, Program, load_program
from pxvm.core.verifier import verify
from pxvm.models.constrained import Constraint, Constraints
from pxvm.models.embedding import Embedder
from pxvm.models.generation import ContextError, Generator
from pxvm.models.graph.fields import Fields
from pxvm.models.graph.resize import resize
from pxvm.models.options import Keywords, Options
from pxvm.models.scoring import Scorer
from pxvm.models.streaming import StopFilter
from pxvm.models.text.template import MessageError
from pxvm.models.text.tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

UNCONVERTED = (".gguf", ".safetensors", ".onnx")
TO_CLOSE = 256  # tokens that a constrained answer may take to come to its end

Messages = Sequence[Mapping[str, Any]]
Tokens = Callable[[Constraint | None], Iterator[int]]
Progress = Callable[[int, int], None]


class ModelError(PxvmError, ValueError):
    """A picture that is not the kind of model that was asked for."""


class Model:
    """A model bound to an executor; ``with`` closes it.

    Attributes:
        finish: why the last answer ended: "stop" or "length"; None while it is under way.
    """

    def __init__(
        self,
        image: Image,
        *,
        device: str = "auto",
        threads: int | None = None,
        tokenizer: Future[Tokenizer] | None = None,
    ) -> None:
        self.image, self.device, self.threads = image, device, threads
        self.fields = _named(image, verify(image))
        self.kind = _kind(self.fields)
        self._tokenizer, self._closed = tokenizer, False
        self.finish: str | None = None

    @classmethod
    def open(
        cls,
        path_or_name: PathLike,
        device: str = "auto",
        threads: int | None = None,
        context: int | None = None,
        max_pixels: int | None = None,
    ) -> Model:
        """Open a model; its file is mapped where that is possible, and never changes.

        Args:
            path_or_name: a ``.pxi``, or a name that ``pxvm models list`` shows, or
                ``hf:OWNER/NAME``, which is fetched when it is not there yet.
            device: "auto", "cpu", "reference", ...; all give the same answers.
            threads: worker threads; None takes every processor.
            context: tokens that a conversation holds at most; None takes the model's own limit.
                Memory is used as the tokens come.
            max_pixels: as for ``open_image``.

        Raises FormatError, ProgramError, ModelError, DeviceError; OSError.
        """
        path = _path(path_or_name)
        image = open_image(path, max_pixels=max_pixels)
        fields = _named(image, load_program(image))
        if _kind(fields) == "embedder":
            capacity, prompt = choices.ROWS, choices.ROWS
        else:
            limit = fields.descriptor("rope").rows
            capacity, prompt = min(context or limit, limit), min(choices.PROMPT, limit)
        loading = ThreadPoolExecutor(1)  # reading a vocabulary takes as long as all the rest
        tokenizer = loading.submit(load_tokenizer, fields, str(path))
        loading.shutdown(wait=False)
        opened = resize(image, context=capacity, prompt=prompt, network=fields.network, fresh=True)
        return cls(opened, device=device, threads=threads, tokenizer=tokenizer)

    @classmethod
    def resume(
        cls,
        path: PathLike,
        device: str = "auto",
        threads: int | None = None,
        context: int | None = None,
        max_pixels: int | None = None,
    ) -> Model:
        """Open what ``save_state`` wrote; ``proceed`` goes on with the answer under way.

        Arguments and errors as for ``open``.
        """
        model = cls.open(Path(path), device, threads, context, max_pixels)
        if not model.generator.position:
            raise ModelError(f"{path}: expected a conversation under way; found an empty context")
        return model

    def close(self) -> None:
        """Let go of the file and of the memory; nothing can be asked after it."""
        self._tokenizer, self._closed = None, True
        for name in ("generator", "embedder", "tokenizer", "fields", "image", "_constraints",
                     "_plan"):  # fmt: skip
            self.__dict__.pop(name, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def _open(self) -> None:
        if self._closed:
            raise ModelError("this model is closed: open it again")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the picture carries."""
        self._open()
        return self._tokenizer.result() if self._tokenizer else load_tokenizer(self.fields)

    @cached_property
    def generator(self) -> Generator:
        """The generation loop. Raises ModelError for an embedder."""
        self._open()
        if self.kind != "language model":
            raise ModelError("this model turns sentences into vectors: use embed")
        plan = self._plan
        return Generator(self.fields, self._session(), plan.chosen.get("prompt"), plan.watch)

    @cached_property
    def embedder(self) -> Embedder:
        """The loop over batches. Raises ModelError for a language model."""
        self._open()
        if self.kind != "embedder":
            raise ModelError("this model writes text: use chat or generate; embed takes an encoder")
        plan = self._plan
        return Embedder(self.fields, self._session(), plan.chosen.get("rows"), plan.watch)

    @cached_property
    def _scorer(self) -> Scorer:
        context, executor = self.generator.context, executors.executor(self.device, 1)
        return Scorer(self.image, self.fields.network, context, executor, self.threads)

    @cached_property
    def _constraints(self) -> Constraints:
        return Constraints(self.tokenizer, self.generator.vocab)

    @cached_property
    def _plan(self) -> choices.Plan:
        """What is known to be best for a model like this, where that is left open."""
        return choices.plan(self.fields.network, self.device, self.threads)

    def _session(self) -> executors.Session:
        executor = executors.executor(self.device, 1, self._plan.chosen)
        return executor.session(self.image, self.fields.network, self.threads)

    # Answers

    @overload
    def chat(
        self, messages: Messages, *, stream: Literal[False] = False, **options: Unpack[Keywords]
    ) -> str: ...
    @overload
    def chat(
        self, messages: Messages, *, stream: Literal[True], **options: Unpack[Keywords]
    ) -> Iterator[str]: ...
    @overload
    def chat(
        self, messages: Messages, *, stream: bool, **options: Unpack[Keywords]
    ) -> str | Iterator[str]: ...
    def chat(
        self, messages: Messages, *, stream: bool = False, **options: Unpack[Keywords]
    ) -> str | Iterator[str]:
        """The model's answer to a conversation.

        What the conversation has in common with the last one is not computed again. When it
        exceeds the context, its oldest turns are left out; the system's message stays.

        Args:
            messages: each {"role": "system" | "user" | "assistant", "content": text}.
            stream: return an iterator over pieces of text instead of a string. An answer that is
                left in the middle can be saved, and goes on with ``proceed``.
            options: see ``Options``: max_tokens, temperature, top_k, top_p, penalty, seed, stop,
                schema, regex, grammar, tools.

        Raises ContextError when the last message alone does not fit, MessageError when the
        model's template refuses the messages, GrammarError, SettingError.
        """
        wanted = Options(**options)
        return self._answer(self._conversation(messages, wanted), wanted, stream)

    @overload
    def generate(
        self, text: str, *, stream: Literal[False] = False, **options: Unpack[Keywords]
    ) -> str: ...
    @overload
    def generate(
        self, text: str, *, stream: Literal[True], **options: Unpack[Keywords]
    ) -> Iterator[str]: ...
    @overload
    def generate(
        self, text: str, *, stream: bool, **options: Unpack[Keywords]
    ) -> str | Iterator[str]: ...
    def generate(
        self, text: str, *, stream: bool = False, **options: Unpack[Keywords]
    ) -> str | Iterator[str]:
        """How the model continues a text; arguments as for ``chat``.

        It ends where the context is full. Raises ContextError when the text does not fit, and
        ModelError when it is empty.
        """
        ids = self.tokenizer.encode(text)
        if not ids:
            raise ModelError("expected a text to continue; found an empty one")
        return self._answer(ids, Options(**options), stream)

    @overload
    def proceed(self, *, stream: Literal[False] = False, **options: Unpack[Keywords]) -> str: ...
    @overload
    def proceed(self, *, stream: Literal[True], **options: Unpack[Keywords]) -> Iterator[str]: ...
    @overload
    def proceed(self, *, stream: bool, **options: Unpack[Keywords]) -> str | Iterator[str]: ...
    def proceed(self, *, stream: bool = False, **options: Unpack[Keywords]) -> str | Iterator[str]:
        """Go on with the answer under way: the text behind what was given out before.

        How tokens are drawn stands in the picture. Of the options count max_tokens (of the whole
        answer), stop, schema, regex and grammar, which must be those of the answer's beginning.
        """
        wanted = Options(**options)
        drawn = self.generator.drawn()
        if not drawn:
            raise ModelError("expected an answer under way; found none: use chat or generate")
        if self.fields.scalar("masked") and not wanted.form:
            raise ModelError("this answer follows a form: give its schema, regex or grammar again")
        pieces = self._speak(self.generator.proceed, wanted, drawn)
        return pieces if stream else "".join(pieces)

    def _answer(self, ids: list[int], wanted: Options, stream: bool) -> str | Iterator[str]:
        pieces = self._speak(partial(self.generator.answer, ids, wanted), wanted, [])
        return pieces if stream else "".join(pieces)

    def _speak(self, tokens: Tokens, wanted: Options, drawn: Sequence[int]) -> Iterator[str]:
        """Text of tokens until a stop; of those in ``drawn`` it was given out already."""
        text, shown = self.tokenizer.stream(), StopFilter(wanted.stops)
        constraint = self._constraint(wanted)
        stops = frozenset(self.tokenizer.settings.stops)
        self.generator.stops = tuple(stops)
        self.finish = None
        if constraint is not None:
            constraint.take(drawn)
        count = 0
        for count, token in enumerate(chain(drawn, tokens(constraint)), 1):
            piece = "" if token in stops else shown.put(text.put(token))
            if piece and count > len(drawn):
                yield piece
            if token in stops or shown.stopped or (constraint and constraint.finished):
                self.finish = "stop"
                break
            if wanted.max_tokens is not None and count >= wanted.max_tokens:
                if constraint is None or count >= wanted.max_tokens + TO_CLOSE:
                    break
                constraint.closing = True
        rest = shown.put(text.finish()) + shown.finish()
        self.finish = "stop" if shown.stopped else self.finish or "length"
        if rest and count > len(drawn):
            yield rest

    def _constraint(self, wanted: Options) -> Constraint | None:
        return self._constraints.follow(**wanted.form) if wanted.form else None

    def _conversation(self, messages: Messages, wanted: Options) -> list[int]:
        """Tokens of a conversation that fits with room for an answer, oldest turns left out."""
        if not messages:
            raise MessageError("expected at least one message; found none")
        context = self.generator.context
        room = context - min(wanted.max_tokens or context, context // 4)
        tools = list(wanted.tools) or None
        kept = list(messages)
        while True:
            ids = self.tokenizer.encode(self.tokenizer.render(kept, tools=tools), special=False)
            if len(ids) <= room:
                return ids
            first = next((i for i, m in enumerate(kept) if m["role"] != "system"), len(kept))
            turn = next((i for i in range(first + 1, len(kept)) if kept[i]["role"] == "user"), 0)
            if not turn:
                raise ContextError(
                    f"the last message takes {len(ids)} tokens; expected at most {room} in a"
                    f" context of {context}: shorten it, or open the model with more"
                )
            del kept[first:turn]

    # Numbers

    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits [n, vocab] behind each token of a text, of its first n tokens.

        A conversation under way stays as it is.
        """
        found = list(self._scorer.logits(token_ids))
        return np.array(found, np.float32).reshape(len(found), self.generator.vocab)

    def perplexity(self, text: str) -> float:
        """exp of the mean negative log-likelihood of a text's tokens, each given those before.

        A text longer than the context is taken in windows of it.
        """
        loss, count = self.score(text)
        return math.exp(loss / count)

    def score(self, text: str, progress: Progress | None = None) -> tuple[float, int]:
        """(negative log-likelihood in nats, number of tokens) of a text; see ``perplexity``.

        Args:
            progress: called with tokens done, and all of them.
        """
        ids, loss, count = self.tokenizer.encode(text), 0.0, 0
        for first in range(0, len(ids), self.generator.context):
            window = ids[first : first + self.generator.context]
            for row, token in zip(self._scorer.logits(window[:-1]), window[1:], strict=True):
                real = row.astype(np.float64)
                loss += float(np.log(np.exp(real - real.max()).sum()) + real.max() - real[token])
                count += 1
                if progress is not None:
                    progress(count, len(ids))
        if not count:
            raise ModelError(f"expected a text of at least 2 tokens; found {len(ids)}")
        return loss, count

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors [n, d], float32 of exact integers: the same bytes everywhere.

        Their length is 1, except of a model that was made to leave them as they are. A text longer
        than the model's limit is cut there.
        """
        if isinstance(texts, str):
            raise ModelError("expected a list of texts; found a string: put it in a list")
        embedder = self.embedder
        limit = min(embedder.limit, self.tokenizer.settings.limit or embedder.limit)
        return embedder.embed(self.tokenizer.encode_all(texts, limit))

    def save_state(self, path: PathLike) -> None:
        """Write the picture with the conversation in it, to be gone on with by ``resume``."""
        self.generator.session.sync()
        position = self.generator.position
        used = self.fields.scalar("n")
        small = resize(
            self.image,
            context=max(position, 1),
            prompt=max(used, 1),
            network=self.fields.network,
        )
        save_image(small, path, layout="mappable")


def _named(image: Image, program: Program) -> Fields:
    if not isinstance(program, TensorProgram):
        raise ModelError("expected a network; found a program of dialect 0: use pxvm run")
    return Fields(image, program)


def _kind(fields: Fields) -> str:
    if {"token", "rope", "sampler"} <= fields.by_name.keys():
        return "language model"
    if {"lengths", "vectors", "positions"} <= fields.by_name.keys():
        return "embedder"
    raise ModelError(
        "expected a language model or an embedder; found another program: use pxvm run"
    )


def _path(path_or_name: PathLike) -> Path:
    from pxvm.models.download import get, is_name

    if isinstance(path_or_name, str) and is_name(path_or_name):
        return get(path_or_name)
    path = Path(path_or_name)
    if not path.exists():
        reason = "no such file, and no model of this name: `pxvm models list` shows those there are"
        raise FileNotFoundError(ENOENT, reason, str(path))
    if path.is_dir() or path.suffix.lower() in UNCONVERTED:
        raise ModelError(
            f"{path}: a model that is no picture yet; `pxvm import {path} -o {path.stem}.pxi`"
            " makes one of it"
        )
    if path.is_file():
        with path.open("rb") as stream:
            if stream.read(len(SIGNATURE)) != SIGNATURE:
                raise ModelError(f"{path}: expected a model's picture, a .pxi; found another file")
    return path
