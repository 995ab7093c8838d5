"""The documents do what they say: their commands run, their output is real, their links arrive.

Every fenced ``bash`` and ``python`` block runs, in the order of the document: commands in a copy of
the tree, Python in one namespace. A block marked ``text output`` right behind one is what that
block must print; ``...`` stands for any text in a line, on its own for any lines. What cannot run
in a test is marked ``no-test`` and must be one of ``EXCUSED``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUN = ("README.md", "CORE_VM_README.md", "SETUP.md", "docs/MEMORY_GUIDE.md")
LINKED = (
    *RUN,
    "docs/MODELS.md",
    "docs/IMPORT.md",
    "docs/ARCHITECTURE.md",
    "docs/FORMAT.md",
    "docs/VERIFIER.md",
    "docs/ISA.md",
)
LEFT_OUT = (".venv", ".git", "demo", "build", "dist", "tests", "__pycache__", ".*_cache")
PRELUDE = "pip() { :; }\n"  # what is to be installed is there; a test changes no installation

EXCUSED = {
    r"git clone .*|cd \S+": "fetches the project",
    r"make (setup|demo|test|lint|bench|fuzz|docs|clean)\b.*": "makes a .venv, or takes minutes",
    r"python3? -m venv .*|(source|\.) \S+/activate.*|deactivate": "makes and enters a .venv",
    r"\.venv\\Scripts\\\S+": "Windows",
    r"(sudo )?apt(-get)? install .*|brew install .*": "changes the system",
    r"(\S+/)?(python3? -m )?pip (install|download|uninstall) .*": "changes the installation",
    r"rm -rf? .*cache.*": "removes a folder of the user",
    r"pxvm debug \S+": "waits for keys",
    r"pxvm (serve|chat)\b.*": "serves until it is stopped",
    r"python3? pxvm/integration/\S+.*": "needs a language model",
    r"python3? pxvm/examples/\S+.*": "takes minutes; the example has its own test",
}


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


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """A copy of the tree to run in, with this Python's commands and the copy's package first."""
    copy = tmp_path / "pxvm"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(copy))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # the same on every machine
    monkeypatch.chdir(copy)
    return copy


def run(block: Block, namespace: dict[str, object]) -> str:
    """Run a block; what it printed. Fails naming document and line."""
    if block.words[0] == "python":
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * block.line + block.text, block.document, "exec"), namespace)
        return printed.getvalue()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", PRELUDE + block.text],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{block}: exit status {done.returncode}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("document", RUN)
def test_every_block_runs_and_prints_what_the_document_shows(document, tree):
    namespace: dict[str, object] = {"__name__": "document"}
    for block in blocks(document):
        if block.runs:
            printed = run(block, namespace)
            if block.output is not None and not same(printed, block.output):
                pytest.fail(f"{block} printed\n{printed}\nand not\n{block.output}")


@pytest.mark.parametrize("document", RUN)
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
