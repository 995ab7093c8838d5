"""The documents do what they say: their commands run, their output is real, their links arrive.

Every fenced ``bash`` and ``python`` block runs, in the order of the document: commands in a copy of
the tree, Python in one process, both in a fresh environment (``fresh``) where nothing is installed
but what the document installs; and again where all extras are. A block marked ``text output`` right
behind one is what that block must print; ``...`` stands for any text in a line, on its own for any
lines. What cannot run in a test is marked ``no-test`` and must be one of ``EXCUSED``.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from pxvm.core.installation import EXTRAS
from tests.fresh import make_environment

ROOT = Path(__file__).resolve().parents[1]
RUN = (
    "README.md",
    "CORE_VM_README.md",
    "SETUP.md",
    "docs/MEMORY_GUIDE.md",
    "docs/IMPORT.md",
    "docs/COACH.md",
    "docs/STUDIO.md",
)
STUDIO = "LM_STUDIO_README.md"  # runs beside a server in LM Studio's place
MODELS = "docs/MODELS.md"  # runs where the real models are
LINKED = (
    *RUN,
    STUDIO,
    MODELS,
    "docs/BRIDGE.md",
    "docs/GPU.md",
    "docs/ARCHITECTURE.md",
    "docs/FORMAT.md",
    "docs/VERIFIER.md",
    "docs/ISA.md",
)
LEFT_OUT = (
    ".venv",
    ".git",
    "demo",
    "build",
    "dist",
    "tests",
    "__pycache__",
    ".*_cache",
    "*.egg-info",
    "node_modules",
)

EXCUSED = {
    r"git clone .*|cd \S+": "fetches the project",
    r"make (setup|demo|test|lint|bench|fuzz|docs|clean)\b.*": "makes a .venv, or takes minutes",
    r'pip install -e "\.\[server\]"': "stands before a server that waits for keys",
    r"make studio": "fetches the page's packages",
    r"python3? -m venv .*|(source|\.) \S+/activate.*|deactivate": "makes and enters a .venv",
    r"\.venv\\Scripts\\\S+": "Windows",
    r"(sudo )?apt(-get)? install .*|brew install .*": "changes the system",
    r"rm -rf? .*cache.*": "removes a folder of the user",
    r"pxvm debug \S+": "waits for keys",
    r"pxvm (serve|chat|studio)\b.*": "waits for keys, or fetches a model",
    r"python3 pxvm/integration/\S+.*": "fetches a model; another page runs it",
    r"pxvm learn (--watch )?~/\.lmstudio/\S+": "learns what the user has said to LM Studio",
    r"pxvm models get gemma3 .*": "fetches 239 MB under terms that a person accepts",
    r"curl .*": "asks the server of the line before",
    r"python3? pxvm/examples/\S+.*": "takes minutes; the example has its own test",
}

# Runs the blocks that come as lines of JSON, in one namespace; answers with what they print.
PYTHON = """
import contextlib, io, json, sys, traceback
namespace = {"__name__": "document"}
for line in sys.stdin:
    code, name = json.loads(line)
    printed, error = io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(code, name, "exec"), namespace)
        except BaseException:
            error = traceback.format_exc()
    print(json.dumps([printed.getvalue(), error]), flush=True)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: the words behind the fence, its text, and the output it must have."""

    document: str
    line: int
    words: tuple[str, ...]
    text: str
    output: str | None

    @property
    def runs(self) -> bool:
        return self.words[0] in ("bash", "python") and "no-test" not in self.words

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(document: str) -> list[Block]:
    """The fenced blocks of a document, in order."""
    path = ROOT / document
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found: list[Block] = []
    end = 0
    for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        words = tuple(match[1].split()) or ("",)
        line = text.count("\n", 0, match.start()) + 1
        if words == ("text", "output"):
            assert found and found[-1].runs and not text[end : match.start()].strip(), (
                f"{document}:{line}: output stands right behind the block that prints it"
            )
            last = found.pop()
            found.append(Block(document, last.line, last.words, last.text, match[2]))
        else:
            found.append(Block(document, line, words, match[2], None))
        end = match.end()
    return found


def commands(text: str) -> Iterator[str]:
    """The lines of a block that are commands."""
    for line in text.splitlines():
        line = re.sub(r"\s+#.*", "", line).strip()
        if line and not line.startswith("#"):
            yield line


def same(found: str, expected: str) -> bool:
    """Do the outputs agree, spaces at line ends and ``...`` aside?"""
    pattern = ""
    for line in expected.strip("\n").splitlines():
        words = re.escape(line.rstrip()).replace(re.escape("..."), ".*")
        pattern += r"(?:.*\n)*?" if line == "..." else words + "\n"
    text = "".join(line.rstrip() + "\n" for line in found.strip("\n").splitlines())
    return re.fullmatch(pattern, text) is not None


@dataclass
class Reader:
    """Somebody with a copy of the tree and a Python in which nothing is installed."""

    tree: Path
    variables: dict[str, str]

    def follow(self, document: str, kinds: Sequence[str] = ("bash", "python")) -> None:
        """Run the blocks of a document and compare what they print."""
        with contextlib.ExitStack() as self.ends:
            for block in blocks(document):
                if block.runs and block.words[0] in kinds:
                    printed = self.run(block)
                    if block.output is not None and not same(printed, block.output):
                        pytest.fail(f"{block} printed\n{printed}\nand not\n{block.output}")

    def run(self, block: Block) -> str:
        """Run a block; what it printed. Fails naming document and line."""
        if block.words[0] == "python":
            assert self.python.stdin and self.python.stdout
            said = json.dumps(["\n" * block.line + block.text, block.document])
            self.python.stdin.write(f"{said}\n")
            self.python.stdin.flush()
            printed, error = json.loads(self.python.stdout.readline())
            assert not error, f"{block}: {error}"
            return str(printed)
        status, printed, errors = self.shell(block.text)
        assert status == 0, f"{block}: exit status {status}\n{errors}"
        return printed

    def shell(self, text: str) -> tuple[int, str, str]:
        """(exit status, output, errors) of commands."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            capture_output=True,
            text=True,
            timeout=1800,
            cwd=self.tree,
            env=self.variables,
        )
        return done.returncode, done.stdout, done.stderr

    @cached_property
    def python(self) -> subprocess.Popen[str]:
        """The Python of the environment, started when the first block needs it."""
        running = subprocess.Popen(
            ["python3", "-c", PYTHON],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.tree,
            env=self.variables,
        )
        return self.ends.enter_context(running)


@pytest.fixture
def reader(tmp_path) -> Reader:
    """A reader who has just fetched the project."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    tree = tmp_path / "pxvm"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
    variables = make_environment(tmp_path / "environment")
    # Wide as a page, and with a cache that is the same on every machine.
    variables |= {"COLUMNS": "80", "XDG_CACHE_HOME": str(tmp_path / "cache"), "TERM": "dumb"}
    return Reader(tree, variables)


def prepare_import(tree: Path) -> None:
    """The models that the page on imports names, as small ones."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from tests.models.model_files import TINY, gguf_llama, hf_bert

    gguf_llama(tree / "SmolLM2-135M-Instruct.Q4_1.gguf", TINY)
    hf_bert(tree / "all-MiniLM-L6-v2")
    weight = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]),
              tree / "digits.onnx")  # fmt: skip
    np.savez(tree / "typical.npz", x=np.ones((16, 8), np.float32))


@pytest.mark.parametrize("extras", [False, True], ids=["fresh", "extras"])
@pytest.mark.parametrize("document", RUN)
def test_every_block_runs_and_prints_what_the_document_shows(document, extras, reader):
    if document == "docs/IMPORT.md":
        prepare_import(reader.tree)
    if extras:
        assert reader.shell(f'pip install -e ".[{",".join(EXTRAS)}]"') == (0, "", "")
    reader.follow(document)


def test_the_guide_of_models(reader):
    """Its commands, with the real models where they are; an example's test runs such Python."""
    from pxvm.core.installation import cache_folder
    from tests.models.tiny_models import real

    for name in ("smollm2", "minilm"):
        real(name)
    reader.variables["XDG_CACHE_HOME"] = str(cache_folder().parent)
    reader.follow(MODELS, ["bash"])


def test_the_guide_of_the_bridge(reader):
    """With a server in LM Studio's place, at its address."""
    from tests.integration.servers import misbehaving

    try:
        server = misbehaving(["good"], port=1234)
        with server:
            reader.follow(STUDIO)
    except OSError as error:
        pytest.skip(f"localhost:1234 is taken: {error}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pip install -r pxvm/requirements.txt\npxvm --version", "pxvm: command not found"),
        ("pxvm --version", "pxvm: command not found"),
        ("python3 -c 'import numpy'", "No module named 'numpy'"),
        ("pip install -e .\npython3 -c 'import numba'", "No module named 'numba'"),
        ("pip install a-package-that-nobody-has", "ERROR: no package a-package-that-nobody-has"),
        ("pip install --upgrade numpy", "ERROR: --upgrade is not understood here"),
    ],
)
def test_what_a_guide_forgets_is_not_there(text, said, reader):
    status, _, errors = reader.shell(text)
    assert status and said in errors


def test_what_a_guide_installs_is_there(reader):
    assert reader.shell("pip install -r pxvm/requirements.txt\npython3 -m pxvm --version")[0] == 0
    status, out, errors = reader.shell('pip install -e ".[cpu]"\ncd /\npxvm --version')
    assert (status, out) == (0, "pxvm, version 0.1.0\n"), errors
    assert reader.shell("python3 -c 'import numba, numpy, PIL'") == (0, "", "")


@pytest.mark.parametrize("document", [*RUN, STUDIO, MODELS])
def test_what_does_not_run_has_an_excuse(document):
    for block in blocks(document):
        if block.words[0] == "bash" and "no-test" in block.words:
            for command in commands(block.text):
                assert any(re.fullmatch(pattern, command) for pattern in EXCUSED), (
                    f"{block}: {command!r} has no excuse in EXCUSED; let it run, or give the reason"
                )
        elif block.words[0] == "python":
            assert "no-test" not in block.words, f"{block}: Python runs"


def anchors(text: str) -> set[str]:
    """Link targets of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", LINKED)
def test_links_inside_the_project_arrive(document):
    path = ROOT / document
    if not path.exists():
        pytest.skip(f"{document} is not written yet")
    text = path.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    links += re.findall(r"""(?:src|href)=["']([^"']+)["']""", prose)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{document}: {link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{document}: {link} leaves the project"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{document}: {link}"


@pytest.mark.parametrize("document", LINKED)
def test_plain_characters_only(document):
    path = ROOT / document
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    assert not [c for c in text if ord(c) > 0x2FFF or 0x2600 <= ord(c) < 0x27C0], "no emoji"


@pytest.mark.parametrize(
    ("found", "expected", "answer"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a  \nb\n", "a\nb", True),
        ("a\nb\nc\n", "a\n...\nc\n", True),
        ("a\nc\n", "a\n...\nc\n", True),
        ("a\nb\nc\n", "a\nc\n", False),
        ("a\nb\n", "a\n", False),
        ("1x5\n", "1.5\n", False),
        ("a 120 bytes\n", "a ... bytes\n", True),
        ("a 120 words\n", "a ... bytes\n", False),
    ],
)
def test_outputs_are_compared_line_by_line(found, expected, answer):
    assert same(found, expected) is answer
