"""What a chat template may use, and what each costs: filters, tests, methods, operators.

Prices are in characters, for a purse that ``sandbox.Sandbox`` holds. Jinja's own functions do the
work. What is not named here does not exist in a template.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from typing import Any

from jinja2 import pass_context
from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from pxvm.core.errors import FormatError

STEP = 32  # what a node, or an element of a list, costs; a character costs 1
CALL = 8 * STEP  # of a function, a method, a filter, a test
MAX_FORMAT = 256
REPR = 10  # characters that Python may write for one
SORTED = 20  # times that an element is compared
SEARCH = 8  # comparisons of a character with one of another text that cost as much as one made


def size(value: Any) -> int:
    """What the outermost level of a value costs."""
    if isinstance(value, str):
        return len(value)
    return STEP * (1 + len(value)) if isinstance(value, (list, tuple, dict, range)) else STEP


def _replaced(s: Any, old: Any, new: Any, count: Any = None) -> int:
    return str(s).count(str(old)) * len(str(new))


def _pieces(text: str, sep: Any = None, maxsplit: int = -1, keepends: bool = False) -> int:
    return STEP * (text.count(sep) if isinstance(sep, str) and sep else len(text))


def _joined(between: Any, parts: Any) -> int:
    return len(str(between)) * len(parts)


def searched(value: int, given: int) -> int:
    """Comparing all of one with all of another, as a search may have to, of their prices."""
    return value * given // SEARCH


def _trimmed(value: Any, chars: Any = None) -> int:
    return searched(len(str(value)), len(chars or ""))


# Methods that take no more steps than what they belong to and what they are given are long
# together. All others may compare each part of one with each of the other.
LINEAR_METHODS = """
    capitalize casefold endswith isalnum isalpha isascii isdecimal isdigit islower isnumeric isspace
    istitle isupper join lower removeprefix removesuffix splitlines startswith swapcase title upper
    copy get items keys values is_integer changed cycle next reset
"""
LINEAR = frozenset(LINEAR_METHODS.split())
METHOD_PRICES: dict[str, Callable[..., int]] = {
    "join": _joined, "replace": _replaced, "rsplit": _pieces, "split": _pieces,
    "splitlines": _pieces,
}  # fmt: skip


def _indented(s: Any, width: Any = 4, first: bool = False, blank: bool = False) -> int:
    return (1 + len(str(s))) * (STEP + (len(width) if isinstance(width, str) else int(width)))


def _summed(iterable: Any, attribute: Any = None, start: Any = 0) -> int:
    if not isinstance(start, (int, float)):
        raise FormatError("it sums what are no numbers")
    return size(iterable)


def _nothing(*_: Any, **__: Any) -> int:
    return 0


# Filters of Jinja's that read all they are given, and what they cost besides, by its own names.
READING: dict[str, Callable[..., int]] = {
    **dict.fromkeys(("abs", "capitalize", "float", "lower", "upper"), _nothing),
    "indent": _indented,
    "int": lambda value, default=0, base=10: len(value) ** 2 if isinstance(value, str) else 0,
    "join": lambda value, d="", attribute=None: _joined(d, value),
    "replace": _replaced,
    "round": lambda value, precision=0, method="": 1 << min(64, abs(int(precision))),
    "sum": _summed,
    "title": lambda s: STEP * len(str(s)),
    "trim": _trimmed,
}
# Those that compare all they are given; that walk along a list; that look at its ends.
COMPARING = ("dictsort", "groupby", "max", "min", "sort")
WALKING = ("items", "list", "map", "reject", "rejectattr", "reverse", "select", "selectattr")
LOOKING = ("count", "d", "default", "first", "last", "length")
# Tests that glance at a value, and those that read all of two.
GLANCING = (
    "boolean", "callable", "defined", "divisibleby", "even", "false", "float", "integer",
    "iterable", "mapping", "none", "number", "odd", "sameas", "sequence", "string", "true",
    "undefined",
)  # fmt: skip
MATCHING = (
    "!=", "<", "<=", "==", ">", ">=", "eq", "equalto", "ge", "greaterthan", "gt", "in", "le",
    "lessthan", "lower", "lt", "ne", "upper",
)  # fmt: skip

Cost = Callable[..., int]


def _priced(function: Any, cost: Cost) -> Any:
    """A filter or test that is paid for; ``cost`` takes the sandbox and what it is given."""
    passed = getattr(function, "jinja_pass_arg", None)

    @pass_context
    def paid(context: Any, *args: Any, **kwargs: Any) -> Any:
        sandbox = context.environment
        sandbox.pay(CALL + cost(sandbox, *args, **kwargs))
        given = {"context": context, "eval_context": context.eval_ctx, "environment": sandbox}
        first = (given[passed.name],) if passed else ()
        return sandbox.made(function(*first, *args, **kwargs))

    return paid


def _reading(more: Cost) -> Cost:
    def cost(sandbox: Any, *args: Any, **kwargs: Any) -> int:
        given = [*args, *kwargs.values()]
        sandbox.pay(sum(sandbox.price(v) * (1 if isinstance(v, str) else REPR) for v in given))
        return more(*args, **kwargs)

    return cost


def _matching(sandbox: Any, *args: Any, **kwargs: Any) -> int:
    return sum(map(sandbox.price, (*args, *kwargs.values())))


def _comparing(sandbox: Any, *args: Any, **kwargs: Any) -> int:
    return SORTED * _matching(sandbox, *args, **kwargs)


def _unlike(sandbox: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    """Every element may meet every other: numbers that share their hash are easily made."""
    return _comparing(sandbox, value, *args, **kwargs) + len(value) ** 2


def _walking(sandbox: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    steps = STEP * len(value) if isinstance(value, str) else size(value)
    return _matching(sandbox, *args, **kwargs) + steps


@pass_context
def _text(context: Any, value: Any) -> str:
    return str(context.environment.text(value))


@pass_context
def _tojson(
    context: Any, value: Any, ensure_ascii: bool = False, indent: Any = None,
    separators: Any = None, sort_keys: bool = False,
) -> str:  # fmt: skip
    """JSON as Hugging Face's templates expect it: no escapes for HTML."""
    sandbox = context.environment
    sandbox.pay(4 * CALL + REPR * sandbox.price(value))
    if len(str(indent)) > 16 or (isinstance(indent, int) and indent > 16):
        raise FormatError("it indents JSON by more than 16")
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    return "".join(map(sandbox.made, encoder.iterencode(value)))


@pass_context
def _format(context: Any, text: str, *args: Any) -> str:
    """``text % args``, of fields that are at most 99 wide."""
    return formatted(context.environment, text, *args)


def formatted(sandbox: Any, text: str, *args: Any) -> str:
    plain = re.sub(r"%%|%[-+ #0]?\d{0,2}(\.\d{1,2})?[sdifgexX]", "", text[:MAX_FORMAT])
    if len(text) > MAX_FORMAT or "%" in plain:
        raise FormatError(f"it writes by a form that is not provided: {text:.40}")
    given = (a if isinstance(a, (int, float)) else sandbox.text(a) for a in args)
    return str(sandbox.made(text % tuple(given)))


# What ``metered`` puts into a template. Its names cannot be written in one.


@pass_context
def _pay(context: Any, value: Any, count: Any) -> Any:
    context.environment.pay(STEP * max(0, int(count)))
    return value


@pass_context
def _compare(context: Any, left: Any, *rest: Any) -> bool:
    """A chain of comparisons: ``rest`` are names and right sides by turns."""
    found = True
    for name, right in zip(rest[::2], rest[1::2], strict=True):
        context.environment.pay(_matching(context.environment, left, right))
        found = COMPARISONS[name](left, right)
        if not found:
            break
        left = right
    return found


COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "gteq": operator.ge,
    "lt": operator.lt, "lteq": operator.le, "in": lambda a, b: a in b,
    "notin": lambda a, b: a not in b,
}  # fmt: skip


@pass_context
def _concat(context: Any, *parts: Any) -> str:
    return str(context.environment.made("".join(map(context.environment.text, parts))))


@pass_context
def _slice(context: Any, value: Any, start: Any, stop: Any, step: Any) -> Any:
    context.environment.pay(size(value))
    return value[start:stop:step]


@pass_context
def _key(context: Any, value: Any) -> Any:
    context.environment.pay(context.environment.price(value))
    return value


@pass_context
def _list(context: Any, value: Any) -> Any:
    return context.environment.made(value)


PRICED_FILTERS: dict[str, Any] = {
    **{name: _priced(FILTERS[name], _reading(more)) for name, more in READING.items()},
    **{name: _priced(FILTERS[name], _comparing) for name in COMPARING},
    **{name: _priced(FILTERS[name], _walking) for name in WALKING},
    "unique": _priced(FILTERS["unique"], _unlike),
    **{name: _priced(FILTERS[name], _nothing) for name in LOOKING},
    "string": _text, "safe": _text, "tojson": _tojson, "format": _format,
    "(pay)": _pay, "(compare)": _compare, "(concat)": _concat, "(slice)": _slice, "(list)": _list,
    "(key)": _key,
}  # fmt: skip
PRICED_TESTS: dict[str, Any] = {
    **{name: _priced(TESTS[name], _nothing) for name in GLANCING},
    **{name: _priced(TESTS[name], _matching) for name in MATCHING},
}
