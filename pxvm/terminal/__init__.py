"""The terminal: what commands print and ask. Nobody else prints."""

from pxvm.terminal.escaping import visible
from pxvm.terminal.markdown import readable_answer
from pxvm.terminal.printing import counted, draws, echo, echo_json, echo_table, echo_text
from pxvm.terminal.progress import progress
from pxvm.terminal.talking import Answer, ask

__all__ = [
    "Answer", "ask", "counted", "draws", "echo", "echo_json", "echo_table", "echo_text", "progress",
    "readable_answer", "visible",
]  # fmt: skip
