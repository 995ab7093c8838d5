"""The learning loop, measured: what a memory changes in a small model's answers, and what it costs.

``python -m benchmarks.bridge --help`` lists its sizes; every figure is printed with them. On a slow
machine ``--answered`` limits the questions that the model is asked; what is found is measured for
all.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from benchmarks._facts import Fact, distractors, facts, ordinary, other
from pxvm.integration.conversation import Conversation
from pxvm.integration.embedded import Embedded
from pxvm.integration.memory import Memory, changed, note
from pxvm.learning.search.context import Context, build_context
from pxvm.learning.search.embedding import Embedder
from pxvm.learning.search.ranking import Hit, Why
from pxvm.models.download import fetch
from pxvm.models.model import Model

if TYPE_CHECKING:
    import openai

ANSWER = 24  # tokens of an answer
PEER_PORT = 18080
FIRST_PIECES = 20


class Truth:
    """A memory that always finds the right record: the ceiling."""

    def __init__(self, memory: Memory) -> None:
        self.memory, self.wanted = memory, ""

    def evidence(self, question, before, budget, most, count) -> Context:  # type: ignore[no-untyped-def]
        hit = Hit(self.memory.network.record(self.wanted), 1.0, Why())
        return build_context([hit], budget, count=count)


def is_right(answer: str, wanted: str) -> bool:
    return re.search(rf"\b{re.escape(wanted)}\b", answer, re.IGNORECASE) is not None


def asked(backend: Embedded, memory: object, question: str, use: bool = True) -> str:
    talk = Conversation(backend, memory, learns=False)  # type: ignore[arg-type]
    return talk.ask(question, use, max_tokens=ANSWER)


def fill(memory: Memory, texts: Sequence[str]) -> float:
    """Store notes with their vectors; seconds."""
    began, embedder = time.perf_counter(), Embedder.present()
    for first in range(0, len(texts), 512):
        batch = [note(text) for text in texts[first : first + 512]]
        memory.network.append_many(embedder.with_vectors(batch) if embedder else batch)
    return time.perf_counter() - began


def measure_facts(
    backend: Embedded, folder: Path, count: int, noise: int, ordinary_count: int, answered: int
) -> None:
    known = facts(count)
    with closing(Memory(folder / f"facts-{noise}.png")) as memory:
        texts = [*distractors(noise), *(fact.said for fact in known)]
        order = np.random.default_rng(4).permutation(len(texts))
        took = fill(memory, [texts[i] for i in order])
        ids = {record.answer: record.id for record in memory.network.records()}
        truth, scores, times = Truth(memory), np.zeros(3, int), []
        found = 0
        for number, fact in enumerate(known):
            truth.wanted = ids[fact.said]
            for question in fact.questions:
                began = time.perf_counter()
                hits = memory.hits(question)[: backend.passages]
                times.append(time.perf_counter() - began)
                found += any(hit.record.id == truth.wanted for hit in hits)
                if number >= answered:
                    continue
                scores[0] += is_right(asked(backend, None, question), fact.answer)
                scores[1] += is_right(asked(backend, memory, question), fact.answer)
                scores[2] += is_right(asked(backend, truth, question), fact.answer)
        total = 3 * min(count, answered)
        print(
            f"{count} invented facts among {noise:,} distractors, stored in {took:.0f} s: the"
            f" record is among the evidence for {found} of {3 * count} questions\n  {total} of them"
            f" asked: right without memory {scores[0]}, with memory {scores[1]}, with the true"
            f" record given {scores[2]}: {scores[1] / max(scores[2], 1):.1%} of the ceiling",
            flush=True,
        )
        print(f"  added by the memory per question at {len(texts):,} records: median"
              f" {np.median(times) * 1e3:.1f} ms, p95 {np.quantile(times, 0.95) * 1e3:.1f} ms",
              flush=True)  # fmt: skip
        measure_ordinary(backend, memory, ordinary(ordinary_count), answered)
        measure_corrected(backend, memory, truth, known[:answered], ids)


def measure_ordinary(
    backend: Embedded, memory: Memory, questions: list[tuple[str, str]], answered: int
) -> None:
    given = sum(bool(memory.hits(question)) for question, _ in questions)
    print(f"  {len(questions)} ordinary questions: {given} are given evidence", flush=True)
    questions = questions[:answered]
    without = [is_right(asked(backend, None, q), a) for q, a in questions]
    within = [is_right(asked(backend, memory, q), a) for q, a in questions]
    lost = sum(a and not b for a, b in zip(without, within, strict=True))
    won = sum(b and not a for a, b in zip(without, within, strict=True))
    print(f"  {len(questions)} of them asked: right without memory {sum(without)}, with it"
          f" {sum(within)} ({lost} lost, {won} won)", flush=True)  # fmt: skip


def measure_corrected(
    backend: Embedded, memory: Memory, truth: Truth, known: list[Fact], ids: dict[str, str]
) -> None:
    right = ceiling = 0
    chosen = known[::2]
    for number, fact in enumerate(chosen):
        new = other(fact, number)
        truth.wanted = changed(memory, ids[fact.said], new.said).id
        question = fact.questions[number % 3]
        right += is_right(asked(backend, memory, question), new.answer)
        ceiling += is_right(asked(backend, truth, question), new.answer)
    print(f"  {len(chosen)} corrected facts: the newest version answered {right}, with the true"
          f" record given {ceiling}: {right / max(ceiling, 1):.1%} of the ceiling",
          flush=True)  # fmt: skip


# -- the server ----------------------------------------------------------------------------------


@contextmanager
def serving(*words: object, line: str) -> Iterator[str]:
    """A server in a process of its own, from the line that tells its address; gives this."""
    command = [sys.executable, "-m", *map(str, words)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for told in process.stderr:
            if found := re.search(line, told):
                break
        else:
            raise SystemExit(f"{command[2]} did not start")
        rest = threading.Thread(target=process.stderr.read)
        rest.start()
        yield f"{found[1].removesuffix('/v1')}/v1"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def told(client: openai.OpenAI, number: int, tokens: int) -> list[str]:
    """The pieces of a story."""
    talk = [{"role": "user", "content": f"Tell me a story about the number {number}."}]
    chunks = client.chat.completions.create(
        model="any", messages=talk, stream=True, max_tokens=tokens, temperature=0
    )
    return [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]


def measure_load(name: str, url: str, clients: int, seconds: float, tokens: int) -> float:
    """One client for a quarter of the time, then all of them; pieces a second of all."""
    import openai

    with openai.OpenAI(base_url=url, api_key="none", timeout=600, max_retries=0) as client:
        told(client, 0, tokens)
        alone: list[str] = []
        pieces, began = 0, time.perf_counter()
        while len(alone) < 4 or time.perf_counter() - began < seconds / 4:
            story = told(client, len(alone), tokens)
            alone.append("".join(story))
            pieces += len(story)
        rate = pieces / (time.perf_counter() - began)
        counts: Counter[str] = Counter()
        end = time.perf_counter() + seconds

        def work(number: int) -> None:
            for turn in count():
                if time.perf_counter() > end:
                    break
                which = (number + turn * clients) % len(alone)
                try:
                    story = told(client, which, tokens)
                except openai.APIError:
                    counts["failed"] += 1
                    continue
                counts["wrong"] += "".join(story) != alone[which]
                counts["pieces"] += len(story)

        began = time.perf_counter()
        threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        many = counts["pieces"] / (time.perf_counter() - began)
    print(
        f"{name}, {clients} streaming clients for {seconds:.0f} s, answers of {tokens} tokens:"
        f" {many:.1f} pieces/s; one at a time {rate:.1f}: {many / rate:.2f}x; errors"
        f" {counts['failed']}, answers with other bytes than alone {counts['wrong']}",
        flush=True,
    )
    return many


def measure_server(model: str, clients: int, seconds: float, tokens: int, slots: int) -> None:
    import openai

    words = ("pxvm", "serve", model, "--port", 0, "--slots", slots, "--queue", clients)
    with serving(*words, line=r"serving (http\S+/v1);") as url:
        with openai.OpenAI(base_url=url, api_key="none", timeout=600) as client:
            measure_first(model, url, client, talk="Tell me a story about the number 0.")
        ours = measure_load(f"server, {slots} slots", url, clients, seconds, tokens)
    if importlib.util.find_spec("llama_cpp") is None:
        print("no peer: pip install llama-cpp-python[server]", flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        published = fetch(model, Path(folder), lambda what, done, total: None)
        words = ("llama_cpp.server", "--model", published, "--n_ctx", 2048, "--port", PEER_PORT,
                 "--interrupt_requests", False, "--verbose", False)  # fmt: skip
        with serving(*words, line=r"running on (http\S+)") as url:
            theirs = measure_load("llama_cpp.server", url, clients, seconds, tokens)
    print(f"{ours / theirs:.2f} times as many as llama_cpp.server", flush=True)


def measure_first(model: str, url: str, client, talk: str) -> None:  # type: ignore[no-untyped-def]
    """Time to the first piece: through the server by two clients, and in this process."""
    messages = [{"role": "user", "content": talk}]
    address = urlsplit(url)
    plain = http.client.HTTPConnection(str(address.hostname), address.port)
    body = json.dumps({"model": model, "messages": messages, "stream": True, "max_tokens": 1})

    def official() -> None:
        pieces = client.chat.completions.create(
            model=model, messages=messages, stream=True, max_tokens=1
        )
        next(chunk for chunk in pieces if chunk.choices and chunk.choices[0].delta.content)

    def without() -> None:
        plain.request("POST", f"{address.path}/chat/completions", body,
                      {"Content-Type": "application/json"})  # fmt: skip
        lines = iter(plain.getresponse().readline, b"")
        next(line for line in lines if re.search(rb'"content": "[^"]', line))

    with Model.open(model) as opened, closing(plain):

        def inside() -> None:
            next(iter(opened.chat(messages, stream=True, max_tokens=1)))

        ways = {"through the server by openai's client": official, "by a plain one": without,
                "in the process": inside}  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(1 + FIRST_PIECES):  # by turns, so that all have the same company
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                times[name].append(time.perf_counter() - began)
                if way is without:
                    plain.close()
    said = ", ".join(f"{name} {np.median(t[1:]) * 1e3:.1f} ms" for name, t in times.items())
    print(f"time to the first piece, median of {FIRST_PIECES}: {said}", flush=True)


def main(words: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--facts", type=int, default=100)
    parser.add_argument("--distractors", type=int, nargs="*", default=[2000, 20000])
    parser.add_argument("--ordinary", type=int, default=200)
    parser.add_argument("--answered", type=int, default=1 << 30)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--tokens", type=int, default=64)
    given = parser.parse_args(list(words))
    if given.facts:
        with tempfile.TemporaryDirectory() as folder, closing(Embedded(given.model)) as backend:
            for noise in given.distractors:
                measure_facts(backend, Path(folder), given.facts, noise, given.ordinary,
                              given.answered)  # fmt: skip
    if given.clients:
        measure_server(given.model, given.clients, given.seconds, given.tokens, given.slots)


if __name__ == "__main__":
    main(sys.argv[1:])
