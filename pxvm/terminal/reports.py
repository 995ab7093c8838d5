"""What modules report through ``logging``, on the terminal: as safe as all that is printed."""

from __future__ import annotations

import logging

from pxvm.terminal.printing import echo


class _Reports(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        echo(f"pxvm: {record.getMessage()}", err=True)


def show_reports() -> None:
    """Show warnings that nobody else takes, as Python does, but with nothing in them that acts."""
    logging.lastResort = _Reports(logging.WARNING)
