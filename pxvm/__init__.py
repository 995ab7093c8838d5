"""pxVM: programs, data, results and memory as pixels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pxvm.core.interpreter import execute_pxi, run_program, save_image
    from pxvm.learning import Network
    from pxvm.models.model import Model

__version__ = "0.1.0"
__all__ = ["Model", "Network", "__version__", "execute_pxi", "run_program", "save_image"]

_ELSEWHERE = {"Model": "pxvm.models.model", "Network": "pxvm.learning"}


def __getattr__(name: str) -> Any:
    """Loads what is asked for only then, so that the package costs nothing to import."""
    if name in __all__:
        return getattr(importlib.import_module(_ELSEWHERE.get(name, "pxvm.core.interpreter")), name)
    raise AttributeError(f"module 'pxvm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
