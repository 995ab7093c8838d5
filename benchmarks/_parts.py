"""What a benchmark of several parts is told: which of them, and the options that it has."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence

from pxvm.cpu import native


def processor() -> str:
    """The processor's name, and which of the vectors and tiles that matter here it has."""
    name, features = native.features().split(" ")
    found = [f[1:] for f in features.split(",") if f.startswith(("+avx", "+amx", "+fma", "+f16c"))]
    return f"{name}: {', '.join(found)}"


def parser(about: str | None) -> argparse.ArgumentParser:
    """A parser that says the first line of a module's docstring."""
    return argparse.ArgumentParser(description=(about or "").splitlines()[0])


def told(
    words: Sequence[str], parts: Collection[str], reads: argparse.ArgumentParser
) -> argparse.Namespace:
    """The options, and as ``parts`` those that are named, or all of them."""
    reads.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    given = reads.parse_args(list(words))
    if unknown := [name for name in given.parts if name not in parts]:
        reads.error(f"no part is called {unknown[0]!r}; there are {', '.join(parts)}")
    given.parts = given.parts or list(parts)
    return given
