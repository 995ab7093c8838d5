"""What stands around the package: the extras that may be installed, and the user's cache folder."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pxvm.core.errors import MissingPackageError, PxvmError

#: Extra -> the packages that it brings.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("numba",),
    "gpu": ("wgpu",),
    "gpu-dawn": ("wgpudawn",),
    "debug": ("textual",),
    "examples": ("scikit-learn",),
    "documents": ("pypdf", "selectolax", "chardet", "striprtf"),
    "arrow": ("pyarrow",),
    "models": ("tokenizers", "jinja2", "llguidance", "huggingface_hub"),
    "onnx": ("onnx",),
    "bridge": ("openai", "prompt_toolkit"),
    "server": ("starlette", "uvicorn"),
    "mcp": ("mcp",),
    "watch": ("watchfiles",),
}


def library(name: str, extra: str) -> Any:
    """Import a module that comes with an extra.

    Raises MissingPackageError, which says what to install, or why the module cannot be loaded.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: of a system's library that it needs
        top = name.partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == top:
            raise MissingPackageError(missing(top, extra)) from None
        raise MissingPackageError(f"the package {top} cannot be loaded: {error}") from None


def missing(package: str, extra: str) -> str:
    """That a package is not installed, and what installs it wherever pxvm itself came from."""
    return f"{package} is not installed (extra {extra}): pip install {' '.join(EXTRAS[extra])}"


def cache_folder() -> Path:
    """The user's cache folder of pxvm, which may not exist yet; all of it can be made again.

    ``$XDG_CACHE_HOME/pxvm`` where that is set, else ``~/.cache/pxvm``, on macOS
    ``~/Library/Caches/pxvm``, on Windows ``%LOCALAPPDATA%\\pxvm\\Cache``.

    Raises PxvmError when there is no home folder.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if Path(named).is_absolute():  # others are to be ignored, the standard says
        return Path(named) / "pxvm"
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
            return Path(local) / "pxvm" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "pxvm"
        return Path.home() / ".cache" / "pxvm"
    except RuntimeError:
        raise PxvmError("there is no home folder for the cache: set XDG_CACHE_HOME") from None
