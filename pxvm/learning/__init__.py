"""The knowledge network: one growing PNG that a person reads and the machine reads back exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pxvm.learning.network import Network
    from pxvm.learning.store.record import Draft, Link, Record, Vector

__all__ = ["Draft", "Link", "Network", "Record", "Vector"]


def __getattr__(name: str) -> Any:
    """Loads what is asked for only then, so that the package costs nothing to import."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "network" if name == "Network" else "store.record"
    return getattr(import_module(f"pxvm.learning.{home}"), name)
