"""The learning loop: language models of any kind, with a memory that is a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pxvm.integration.lm_studio_bridge import LMStudioPixelBridge
    from pxvm.integration.orchestration import NetworkOrchestrator

_HOMES = {"LMStudioPixelBridge": "lm_studio_bridge", "NetworkOrchestrator": "orchestration"}
__all__ = ["LMStudioPixelBridge", "NetworkOrchestrator"]


def __getattr__(name: str) -> Any:
    """Loads what is asked for only then, so that the package costs nothing to import."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"pxvm.integration.{_HOMES[name]}"), name)
