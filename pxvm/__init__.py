"""pxVM: programs, data, results and memory as pixels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pxvm.core.interpreter import execute_pxi, run_program, save_image
    from pxvm.models.model import Model

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "execute_pxi", "run_program", "save_image"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        where = "pxvm.models.model" if name == "Model" else "pxvm.core.interpreter"
        return getattr(importlib.import_module(where), name)
    raise AttributeError(f"module 'pxvm' has no attribute {name!r}")
