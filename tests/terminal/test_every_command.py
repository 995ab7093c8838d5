"""Every command on a terminal, fed with names, records and texts that would act on it.

Nothing of what strangers' files say may arrive raw; that it arrives at all shows that the command
was asked the right thing.
"""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import click
import pytest

from pxvm.cli import cli
from pxvm.coach import Coach, task_of
from pxvm.core.container import save_image
from pxvm.core.layout import NetworkBuilder
from pxvm.core.tensor import DType, Role
from pxvm.learning import Draft, Network
from tests.terminal.screen import called

PACKAGE = Path(__file__).resolve().parents[2] / "pxvm"
EVIL = "\x1b]0;pwned\x07\x1b[2J"  # sets the title, empties the screen; 16 of a name's 24 bytes
FILE = f"{EVIL}\x9b2J\u202e\u2066[red]\nx"  # and what a file's name may hold
RAW = ["\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e", "\u2066"]

EMBEDDED = "--backend embedded --model {}.model --device reference --max-tokens 4"

# Words of each command; {} is a file whose name acts, and what it holds does too.
COMMANDS = {
    "run": ["run {}.pxi -o {}.png --device reference", "run {}.pxi --json --device reference",
            "run {}.bad"],
    "asm": ["asm {}.txt -o out.pxi", "asm good.txt -o {}.pxi"],
    "dis": ["dis {}.missing"],
    "info": ["info {}.pxi", "info {}.pxi --json", "info {}.bad"],
    "verify": ["verify {}.pxi", "verify {}.bad", "verify {}.bad --json"],
    "pack": ["pack {}.pxi {}.packed"],
    "unpack": ["unpack {}.pxi {}.unpacked"],
    "view": ["view {}.pxi -o {}.view", "view {}.pxi -o {}.view --json"],
    "trace": ["trace {}.pxi -o {}.trace", "trace {}.pxi --no-picture --json"],
    "debug": ["debug {}.pxi --commands step;back;print;x",
              "debug {}.pxi --commands print;x --json"],
    "diff": ["diff {}.pxi {}.other -o {}.diff", "diff {}.pxi {}.other --json",
             "diff {}.pxi {}.other --run 9"],
    "profile": ["profile {}.pxi --instructions --device reference",
                "profile {}.pxi --json --device reference",
                "profile {}.pxi --set {}=1"],
    "learn": ["learn {}.md -n {}.new", "learn {}.md -n {}.new --json", "learn {} -n {}.new"],
    "recall": ["recall capital -n {}.net", "recall capital -n {}.net --why",
               "recall capital -n {}.net --json", "recall capital -n {}.net --context 200",
               "recall capital -n {}.net --picture {}.hits"],
    "network info": ["network info -n {}.net"],
    "network verify": ["network verify -n {}.net", "network verify -n {}.torn"],
    "network repair": ["network repair -n {}.net -o {}.repaired"],
    "network history": ["network history 1 -n {}.net", "network history 1 -n {}.net --json"],
    "network view": ["network view -n {}.net -o {}.page"],
    "network growth": ["network growth -n {}.net -o {}.growth"],
    "network reembed": ["network reembed -n {}.missing"],
    "network compact": ["network compact -n {}.net -o {}.compact"],
    "network merge": ["network merge {}.net {}.net -o {}.merged"],
    "network export": ["network export -n {}.net {}.jsonl", "network export -n {}.net {}.doc"],
    "network import": ["network import {}.bad.jsonl -n {}.taken"],
    "network forget": ["network forget 1 -n {}.net", "network forget 1 -n {}.net --json"],
    "network correct": ["network correct 1 --answer x -n {}.net"],
    "network tag": ["network tag 1 -n {}.net", "network tag 1 {} -n {}.net --json"],
    "ask": [f"ask what is the capital of France -n {{}}.net {EMBEDDED} --show-context --no-learn",
            f"ask capital -n {{}}.net {EMBEDDED} --json",
            f"ask hi -n {{}}.net -n {{}}.missing {EMBEDDED}",
            "ask hi -n {}.net --url http://localhost:9/{} --backend vllm --model {}",
            f"ask hi -n {{}} {EMBEDDED}"],
    "talk": [f"talk -n {{}}.net {EMBEDDED}", f"talk -n {{}} {EMBEDDED}"],
    "mcp": ["mcp -n {}"],
    "coach solve": ["coach solve {}.task -n {}.taught", "coach solve {}.task -n {}.new --json",
                    "coach solve {}.txt -n {}.new", "coach solve {}.missing -n {}.new"],
    "coach teach": ["coach teach {}.pxi --task {}.task -n {}.new",
                    "coach teach {}.bad --task {}.md"],
    "coach log": ["coach log -n {}.taught", "coach log -n {}.taught --json", "coach log -n {}"],
    "coach curve": ["coach curve -n {}.taught -o {}.curve"],
    "coach ask": ["coach ask capital -n {}.taught -o {}.answer",
                  "coach ask capital -n {}.taught -o {}.answer --json",
                  "coach ask nonsense -n {}.missing"],
    "tune quantise": ["tune quantise {}.gguf -o {}.made -n {}.new",
                      "tune quantise {}.missing -o {}.made -n {}.new"],
    "tune speed": ["tune speed {}.missing -n {}.new", "tune speed {}.bad -n {}.new"],
    "tune auto": ["tune auto show", "tune auto show --json", "tune auto on -n {}.bad"],
    "gpus": ["gpus", "gpus --json"],
    "serve": ["serve {}.missing --port 0", "serve --backend {} --port 0"],
    "studio": ["studio {}.missing --no-browser", "studio --backend {} --port 0 --no-browser",
               "studio --static {}.site", "studio --static {}.md"],
    "import": ["import {}.gguf -o {}.made", "import {}.pxi -o {}.md"],
    "models list": ["models list", "models list --json"],
    "models get": ["models get {}", "models get hf:{}/{}/{}"],
    "models path": ["models path {}"],
    "chat": ["chat {}.model hi --regex {} --device reference", "chat {}.md hi",
             "chat {}.model hi --regex {} --device reference --json"],
    "generate": ["generate {}.model hi --regex {} --device reference", "generate {}.missing hi"],
    "embed": ["embed {}.model hi --device reference", "embed {}.missing hi"],
    "eval": ["eval {}.missing --text good.txt", "eval good.pxi --text {}.missing"],
}  # fmt: skip
# What says nothing of a file or of what it holds.
SILENT = (
    "network forget 1 -n {}.net", "network reembed -n {}.missing",
    "embed {}.model hi --device reference", "gpus", "gpus --json",
)  # fmt: skip


def leaves(command: click.Command, name: str = "") -> list[str]:
    if not isinstance(command, click.Group):
        return [name]
    context = click.Context(command)
    found = []
    for inner in command.list_commands(context):
        child = command.get_command(context, inner)
        assert child is not None
        found += leaves(child, f"{name} {inner}".strip())
    return found


def test_every_command_is_asked():
    assert sorted(COMMANDS) == sorted(leaves(cli))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A folder of files whose names and contents act."""
    from tests.models.tiny_models import write_llama

    folder = tmp_path_factory.mktemp("hostile")
    for role, name in ((Role.STATE, "pxi"), (Role.CONSTANT, "bad")):
        b = NetworkBuilder(64)
        b.tensor(EVIL, DType.I32, (1, 1), role, data=[[1]])
        b.emit("Add", EVIL, EVIL, EVIL)
        save_image(b.build(), folder / f"{FILE}.{name}")
    image = b.build()
    image[3, 0, 0] = 9
    save_image(image, folder / f"{FILE}.other")
    (folder / "good.txt").write_text(".image 4x4\nH\n")
    (folder / f"{FILE}.txt").write_text(".image 4x4\n\x1b[2Jpwned\x07\x9b\n")
    (folder / f"{FILE}.md").write_text(f"# Title{EVIL}\n\n{EVIL}\n")
    (folder / f"{FILE}.gguf").write_bytes(b"GGUF")
    (folder / f"{FILE}.bad.jsonl").write_text('{"\\u001b]0;pwned\\u0007": 1}')
    (folder / FILE).mkdir()
    (folder / FILE / f"{FILE}.pdf").write_text("%PDF-1.7")
    with Network.open(folder / f"{FILE}.net") as network:
        said = {"query": f"capital of France{EVIL}", "answer": f"Paris{EVIL}\nx", "model": EVIL}
        network.append_many([Draft(**said, source=f"src{EVIL}", tags=(f"tag{EVIL}",))])
    task = {"name": EVIL, "words": f"capital {EVIL}", "inputs": {"x": "vector 2"},
            "output": "number", "examples": [{"in": {"x": [1, 2]}, "out": 3}]}  # fmt: skip
    (folder / f"{FILE}.task").write_text(json.dumps(task))
    with Network.open(folder / f"{FILE}.taught") as network:
        Coach(network).solve(task_of(task), 500)
    whole = (folder / f"{FILE}.net").read_bytes()
    (folder / f"{FILE}.torn").write_bytes(whole.replace(b"pwned", b"p\0ned"))
    write_llama(folder / f"{FILE}.model")
    cache = folder / "cache/pxvm/models"
    cache.mkdir(parents=True)
    (cache / f"{FILE}.pxi").write_bytes(b"x")
    known = {f"{EVIL} | another machine | 0 busy": {"prompt": 128}}
    (folder / "cache/pxvm/choices.json").write_text(json.dumps(known))
    return folder


@pytest.mark.parametrize("line", [line for lines in COMMANDS.values() for line in lines])
def test_nothing_of_a_stranger_reaches_the_terminal_raw(line, hostile, tmp_path, monkeypatch):
    folder = tmp_path / "here"
    shutil.copytree(hostile, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    name = r"\x1b\]0;pwned\x07" if "--regex" in line else FILE
    words = [word.replace("{}", FILE if word.startswith("{}.") else name) for word in line.split()]
    status, shown = called(words, given="n\n")
    text = shown.decode()
    assert status in (0, 1, 2), text
    assert not [raw for raw in RAW if raw in text], text.encode("unicode_escape")
    assert "pwned" in "".join(text.split()) or line in SILENT, text  # a table may break the word


ALLOWED = {
    "core/reference_page.py": "names the page that it wrote",
    "cpu/executor.py": "names of opcodes that are being compiled",
    "gpu/measuring.py": "what a process of its own measured, as JSON, to the one that waits for it",
    "cpu/kept.py": "the place of a kept kernel that is not trusted, as Python spells it",
    "learning/typeset/fonts/make_fonts.py": "a tool that makes the fonts",
}
WRITERS = ("print", "click.echo", "click.secho", "click.echo_via_pager", "sys.stdout.write",
           "sys.stderr.write", "Console", "rich.print", "pprint")  # fmt: skip


def writers(source: str) -> list[str]:
    """Calls in a source that print on their own."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in WRITERS or name.endswith(".Console"):
                found.append(f"line {node.lineno}: {name}")
    return found


def test_nobody_else_prints():
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).as_posix()
        if room.split("/")[0] in ("terminal", "examples") or room in ALLOWED:
            continue
        assert not writers(path.read_text(encoding="utf-8")), room


def test_the_search_for_other_ways_sees_them():
    assert writers("import click\nclick.echo(1)\nprint(2)\nrich.console.Console()") == [
        "line 2: click.echo", "line 3: print", "line 4: rich.console.Console",
    ]  # fmt: skip
