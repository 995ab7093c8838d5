"""The terminal: what commands print and ask. Nobody else prints."""

from pxvm.terminal.printing import counted, echo, echo_json, echo_table, echo_text
from pxvm.terminal.progress import progress

__all__ = ["counted", "echo", "echo_json", "echo_table", "echo_text", "progress"]
