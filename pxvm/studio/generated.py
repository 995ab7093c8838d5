"""What is written from Python's tables for the page: ``python -m pxvm.studio.generated``."""

from __future__ import annotations

from pathlib import Path

from pxvm.studio import memory_tables, shader_tables, tables


def contents() -> dict[Path, str]:
    """Every generated file of ``studio/src`` with its content."""
    return {
        **tables.contents(),
        **shader_tables.contents(),
        memory_tables.FILE: memory_tables.text(),
    }


def main() -> None:
    """Write them all."""
    for path, text in contents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
