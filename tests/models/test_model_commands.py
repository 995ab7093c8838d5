"""The commands around models, as a shell runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from pxvm import Model
from pxvm.terminal.escaping import visible_lines
from tests.models.tiny_models import compiled, write_bert, write_llama
from tests.terminal.screen import typed

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    compiled()
    folder = tmp_path_factory.mktemp("models")
    return (
        write_llama(folder / "tiny.pxi", stops=()),
        write_bert(folder / "bert.pxi"),
        write_llama(folder / "stop.pxi"),
    )


def pxvm(*arguments, given="", **environment):
    """(exit status, standard output, standard error) of a command."""
    done = subprocess.run(
        [sys.executable, "-m", "pxvm.cli", *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def test_chat_prints_the_answer_of_the_library(files):
    expected = Model.open(files[0]).chat(
        [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}],
        max_tokens=9, temperature=0.5, seed=3,
    )  # fmt: skip
    options = ("--system", "s", "--max-tokens", 9, "--temperature", 0.5, "--seed", 3)
    assert pxvm("chat", files[0], "hi", *options)[:2] == (0, visible_lines(expected) + "\n")
    found = pxvm("chat", files[0], *options, "--json", given="hi\n")[1]
    assert json.loads(found) == {"text": expected, "finish": "length"}


def test_an_answer_can_be_saved_and_gone_on_with(files, tmp_path):
    text = pxvm("chat", files[0], "hi", "--max-tokens", 5, "--save-state", tmp_path / "s.pxi")[1]
    assert text.rstrip("\n")
    assert Model.resume(tmp_path / "s.pxi", device="reference").proceed(max_tokens=8)


def test_generate_follows_a_schema(files, tmp_path):
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    options = ("--schema", tmp_path / "schema.json", "--max-tokens", 8)
    status, out, _ = pxvm("generate", files[2], "-", *options, given="once ")
    assert status == 0 and isinstance(json.loads(out)["a"], int)


def test_embed_prints_vectors_or_writes_them(files, tmp_path):
    expected = Model.open(files[1]).embed(["one", "two three"])
    status, out, _ = pxvm("embed", files[1], "one", "--file", "-", given="two three\n")
    assert status == 0
    assert np.array_equal(np.array(json.loads(out), np.float32), expected)
    assert pxvm("embed", files[1], "one", "two three", "-o", tmp_path / "v.npy")[0] == 0
    assert np.array_equal(np.load(tmp_path / "v.npy"), expected)


def test_eval_prints_perplexity(files, tmp_path):
    (tmp_path / "text.txt").write_text("Programs as pixels.")
    status, out, _ = pxvm("eval", files[0], "--text", tmp_path / "text.txt", "--json")
    expected = Model.open(files[0]).perplexity("Programs as pixels.")
    assert status == 0 and json.loads(out)["perplexity"] == pytest.approx(expected)


def test_models_lists_what_there_is(tmp_path):
    here = {"XDG_CACHE_HOME": str(tmp_path)}
    rows = json.loads(pxvm("models", "list", "--json", **here)[1])
    assert [row["name"] for row in rows] == ["smollm2", "gemma3-270m", "minilm"]
    assert not any(row["path"] for row in rows)
    status, out, err = pxvm("models", "path", "minilm", **here)
    assert (status, out) == (1, "") and "pxvm models get minilm" in err
    (tmp_path / "pxvm/models").mkdir(parents=True)
    (tmp_path / "pxvm/models/minilm-0.1.0.pxi").write_bytes(b"x")
    assert pxvm("models", "path", "minilm", **here)[1].startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("models", "get", "gpt-17"), "no model is called 'gpt-17'"),
        (("models", "get", "hf:../x"), "expected hf:OWNER/NAME"),
        (("chat", "missing.pxi", "hi"), "missing.pxi: no such file, and no model of this name"),
        (("chat", "{readme}", "hi"), "README.md: expected a model's picture, a .pxi"),
        (("chat", "{gguf}", "hi"), "a model that is no picture yet; `pxvm import "),
        (("chat", "{folder}", "hi"), "a model that is no picture yet; `pxvm import "),
        (("chat", "{bert}", "hi"), "use embed"),
        (("embed", "{llama}", "hi"), "use chat or generate"),
        (("generate", "{llama}", "hi", "--top-p", "7"), "top_p: expected 0 to 1"),
        (("generate", "{llama}", ""), "expected a text to continue; found an empty one"),
        (("generate", "{stop}", "hi", "--regex", "a("), "the regex cannot be"),
        (("generate", "{stop}", "hi", "--grammar", "{readme}"), "the grammar cannot be followed"),
        (("generate", "{stop}", "hi", "--schema", "{readme}"), "the schema cannot be followed"),
        (("generate", "{llama}", "hi", "--save-state", "no/s.pxi"), "there is no folder no"),
        (("chat", "{llama}", "hi", "--save-state", "{llama}"), "the output is the same file as"),
        (("embed", "{bert}", "hi", "-o", "{bert}"), "the output is the same file as"),
        (("embed", "{bert}", "--file", "{readme}", "-o", "{readme}"), "the output is the same"),
        (
            ("generate", "{llama}", "hi", "--schema", "{readme}", "--save-state", "{readme}"),
            "README.md: the output is the same file as the input",
        ),
        (
            ("chat", "{llama}", "hi", "--grammar", "{readme}", "--save-state", "{readme}"),
            "README.md: the output is the same file as the input",
        ),
        (("generate", "{llama}", "hi", "--schema", "{pipe}"), "expected a regular file"),
        (("chat", "{llama}", "hi", "--grammar", "{pipe}"), "expected a regular file"),
        (("embed", "{bert}", "--file", "{pipe}"), "expected a regular file"),
        (("eval", "{llama}", "--text", "/dev/zero"), "expected a regular file"),
        (("chat", "{llama}", "hi", "--device", "abacus"), "no executor for device"),
    ],
)
def test_bad_input_is_one_line(files, arguments, message):
    folder = files[0].parent
    names = {"{llama}": files[0], "{bert}": files[1], "{stop}": files[2],
             "{folder}": folder, "{gguf}": folder / "x.gguf",
             "{readme}": folder / "README.md"}  # fmt: skip
    names["{pipe}"] = folder / "pipe"
    if not names["{pipe}"].exists():
        os.mkfifo(names["{pipe}"])
    names["{gguf}"].write_bytes(b"GGUF")
    names["{readme}"].write_text("# A text\n")
    before = [path.read_bytes() for path in files]
    status, out, err = pxvm(*(names.get(a, a) for a in arguments))
    assert status == 2 and out.strip() == ""
    assert message in err and err.count("\n") == 1
    assert [path.read_bytes() for path in files] == before


@pytest.mark.parametrize(
    "arguments", [("chat", "{llama}"), ("embed", "{bert}")], ids=["message", "texts"]
)
def test_nothing_to_say_is_said(files, arguments):
    names = {"{llama}": files[0], "{bert}": files[1]}
    status, out, err = pxvm(*(names.get(a, a) for a in arguments), given="  \n")
    assert status == 2 and out == "" and "expected" in err.splitlines()[-1]


def test_an_answer_that_was_cut_says_so(files):
    done = pxvm("generate", files[0], "hi", "--max-tokens", 3, "--device", "reference")
    assert done[::2] == (0, "(cut after 3 tokens; --max-tokens takes more)\n")
    context = ("--context", 4, "--device", "reference")
    assert pxvm("generate", files[0], "hi", *context)[2] == (
        "(cut where the context of 4 tokens is full)\n"
    )
    done = json.loads(pxvm("generate", files[0], "hi", "--max-tokens", 3, "--json")[1])
    assert done["finish"] == "length"


def test_a_conversation_goes_on_after_a_message_that_is_too_long(files):
    code = f"""
import sys
sys.argv = ["pxvm", "chat", {str(files[0])!r}, "--max-tokens", "3", "--device", "reference"]
from pxvm.cli import main
main()
"""
    shown = typed(code, b"x" * 2000 + b"\r", b"\r", b"hi\r", b"\x04", prompt=b"> ", columns=4000)
    assert "the last message takes" in shown
    assert shown.count("(cut after 3 tokens") == 1


def test_ctrl_c_ends_an_answer_and_not_the_state(files, tmp_path, interruptible):
    state = tmp_path / "s.pxi"
    command = [sys.executable, "-m", "pxvm.cli", "generate", str(files[0]), "hi", "--device",
               "reference", "--max-tokens", "100000", "--save-state", str(state)]  # fmt: skip
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    running.stdout.read(1)  # it is speaking
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert out.endswith(b"\n")
    assert Model.resume(state, device="cpu").proceed(max_tokens=250)
