"""Settings of a model file by name, checked for kind and size when they are read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import numpy as np

from pxvm.core.errors import FormatError
from pxvm.core.reading import read_bytes
from pxvm.models.files.safetensors import parse_json

MAX_EXTENT = 1 << 24
MAX_FILE = 1 << 20


class Settings:
    """What a file says, by name; remembers what was asked for."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self.where, self.values = where, values
        self.asked = set[str]()

    def error(self, key: str, expected: str) -> FormatError:
        found = brief(self.values.get(key))
        return FormatError(f"{self.where}: {key}: expected {expected}; found {found}")

    def but(self, values: Mapping[str, Any]) -> Settings:
        """The same with other values."""
        found = Settings(self.where, {**self.values, **values})
        found.asked = self.asked
        return found

    def get(self, key: str) -> Any:
        """A value, or None."""
        self.asked.add(key)
        return self.values.get(key)

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number of 1 to 2^24; the default where there is none.

        A GGUF may give one for each layer, which must be the same.
        """
        value = self.get(key)
        value = default if value is None else value
        if isinstance(value, np.ndarray) and len(value) and (value == value[0]).all():
            value = value[0].item()
        if type(value) is not int or not 1 <= value <= MAX_EXTENT:
            raise self.error(key, f"a whole number of 1 to {MAX_EXTENT}")
        return value

    def columns(self, key: str) -> int:
        """A whole number that fills whole pixels, which hold four int8 weights each."""
        value = self.count(key)
        if value % 4:
            raise self.error(key, "a multiple of 4")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        """A number above 0."""
        value = self.get(key)
        value = default if value is None else value
        if type(value) not in (int, float) or not 0 < value <= sys.float_info.max:  # type: ignore[operator]
            raise self.error(key, "a number above 0")
        return float(value)  # type: ignore[arg-type]

    def only(self, key: str, *allowed: Any) -> Any:
        """The setting, one of those. Raises FormatError for others; None allows none."""
        value = self.get(key)
        if not any(type(value) is type(a) and value == a for a in allowed):
            raise self.error(key, f"one of {', '.join(map(str, allowed))}")
        return value

    def inner(self, key: str) -> Settings:
        """Settings inside the setting; none where it is missing."""
        value = self.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise self.error(key, "settings")
        return Settings(f"{self.where}: {key}", value or {})

    def close(self, prefix: str, *harmless: str) -> None:
        """Raise FormatError where something is said that nobody asked for and that is not off.

        Args:
            prefix: of the names that count.
            harmless: names behind it that change no answer.
        """
        for key, value in self.values.items():
            known = key in self.asked or key.removeprefix(prefix) in harmless
            off = isinstance(value, (bool, int, float, str, type(None))) and not value
            if key.startswith(prefix) and not known and not off:
                raise self.error(key, "nothing of this name, which is not known")


def read_settings(path: Path, *, optional: bool = False) -> Settings:
    """The settings of a JSON file; empty where it may be missing and is.

    Raises FormatError; OSError.
    """
    if optional and not path.exists():
        return Settings(str(path), {})
    return Settings(str(path), parse_json(read_bytes(path, MAX_FILE), str(path)))
