"""Calls of functions, found in text that comes in any pieces, and never made up."""

from __future__ import annotations

import pytest

from pxvm.models.calls import Calls, for_template, knows_tools
from tests.models.tiny_models import CHATML

CALL = '<tool_call>\n{"name": "a", "arguments": {"x": "é<"}}\n</tool_call>'


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("text", "shown", "calls"),
    [
        ("plain <b> text <tool", "plain <b> text <tool", []),
        (f"Well: {CALL}", "Well: ", ["a"]),
        (f"{CALL}\n{CALL}", "\n", ["a", "a"]),
        (CALL.removesuffix("</tool_call>"), "", ["a"]),
        ("<tool_call>[1]</tool_call>!", "<tool_call>[1]</tool_call>!", []),
        ('<tool_call>{"name": "a"', '<tool_call>{"name": "a"', []),
        ('<tool_call>{"name": "a", "arguments": 7}</tool_call>',
         '<tool_call>{"name": "a", "arguments": 7}</tool_call>', []),
        ('<tool_call>{"name": "b", "parameters": {}}</tool_call>', "", ["b"]),
    ],
)  # fmt: skip
def test_calls_are_taken_out_of_a_text(text, shown, calls, size):
    filter, said, found = Calls(), "", []
    for start in range(0, len(text), size):
        piece, new = filter.put(text[start : start + size])
        said, found = said + piece, found + new
    piece, new = filter.finish()
    assert (said + piece, [name for name, _ in found + new]) == (shown, calls)
    assert filter.count == len(calls)
    assert all(arguments in ('{"x": "é<"}', "{}") for _, arguments in found + new)


def test_templates_get_arguments_as_objects():
    call = {"id": "1", "function": {"name": "a", "arguments": '{"x": 1}'}}
    odd = {"id": "2", "function": {"name": "a", "arguments": "no JSON"}}
    messages = [{"role": "assistant", "content": "", "tool_calls": [call, odd]}]
    found = for_template(messages)[0]["tool_calls"]
    assert [each["function"]["arguments"] for each in found] == [{"x": 1}, "no JSON"]
    assert messages[0]["tool_calls"][0] is call and call["function"]["arguments"] == '{"x": 1}'
    assert knows_tools("{% if tools %}<tool_call>{% endif %}") and not knows_tools(CHATML)
