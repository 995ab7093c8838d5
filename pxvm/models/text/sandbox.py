"""Where chat templates run: Jinja with a purse, from which everything that takes time or room pays.

A template is a stranger's program, and Python cannot bound it from outside without another process.
So every step is paid for before it is taken: a node of a body that may run again, a character that
is made, read through or compared, an element of a list. Jinja's own code does the work; ``metered``
puts payments into its tree, the environment takes them. There are the filters, tests, functions and
methods named here, each with its price, and no others.
"""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from datetime import datetime
from typing import Any

from jinja2 import nodes, pass_context
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.runtime import LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Namespace
from jinja2.visitor import NodeTransformer

from pxvm.core.errors import FormatError
from pxvm.models.text.prices import (
    CALL,
    LINEAR,
    MAX_FORMAT,
    METHOD_PRICES,
    PRICED_FILTERS,
    PRICED_TESTS,
    REPR,
    STEP,
    formatted,
    searched,
    size,
)

DEEPEST = 64  # lists in lists
MAX_BITS = 1024  # of a whole number
MAX_WORK = 12_000  # nodes to compile, about two seconds
BODY = 8  # nodes that a body is worth

METHODS = {
    str: "capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit"
    " islower isnumeric isspace istitle isupper join lower lstrip partition removeprefix"
    " removesuffix replace rfind rindex rpartition rsplit rstrip split splitlines startswith strip"
    " swapcase title upper",
    dict: "copy get items keys values",
    list: "copy count index",
    tuple: "count index",
    float: "is_integer",
    LoopContext: "changed cycle depth depth0 first index index0 last length nextitem previtem"
    " revindex revindex0",
    Cycler: "current next reset",
}
ATTRIBUTES = {kind: frozenset(names.split()) for kind, names in METHODS.items()}
JINJA_OWN = ("_loop_vars", "_block_vars")  # passed along with every call in a loop or a block
DATA = (str, int, float, type(None), range, Undefined)


class Refusal(Exception):
    """What a template says by ``raise_exception``."""


class Generation(Extension):
    """``{% generation %}``, which marks what a model was trained on, changes no text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Generator(CodeGenerator):
    """Computes nothing while it compiles, where nobody pays."""

    def _output_child_to_const(self, *_: Any) -> str:
        raise nodes.Impossible


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja for one rendering.

    Args:
        purse: what it may cost, in characters.
    """

    code_generator_class = Generator
    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "**", "%"])

    def __init__(self, purse: int = 0) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, optimized=False, finalize=self.text,
            extensions=[loopcontrols, Generation],
        )  # fmt: skip
        self.left = purse
        self.filters, self.tests = PRICED_FILTERS, PRICED_TESTS
        del self.globals["lipsum"]
        self.globals |= {"raise_exception": _refuse, "strftime_now": _now}

    def run(self, code: Any, values: dict[str, Any]) -> str:
        """The text of a template that ``metered`` made; raises whatever goes wrong in it."""
        return self.template_class.from_code(self, code, self.make_globals(None)).render(values)

    def pay(self, price: int) -> None:
        """Raises FormatError when the purse does not hold so much."""
        if price > self.left:
            raise FormatError("it takes too long or writes too much")
        self.left -= price

    def price(self, value: Any) -> int:
        """What reading all of some data costs.

        Raises FormatError where the purse does not hold it, or it nests too deeply.
        """
        if isinstance(value, str):
            return len(value)
        total, level = 0, [value]
        for _ in range(DEEPEST):
            below: list[Any] = []
            for part in level:
                total += size(part)
                if total > self.left:
                    self.pay(total)
                if isinstance(part, (list, tuple, dict)):
                    below.extend(part)
                    below.extend(part.values() if isinstance(part, dict) else ())
                elif not isinstance(part, DATA):
                    raise FormatError(f"it reads {type(part).__name__} as if it were data")
            if not below:
                return total
            level = below
        raise FormatError(f"it makes lists that nest more than {DEEPEST} deep")

    def made(self, value: Any) -> Any:
        """Pay for what was made, not for what stands in it; iterators become lists."""
        if isinstance(value, int):
            if value.bit_length() > MAX_BITS:
                raise FormatError(f"it computes numbers of more than {MAX_BITS} bits")
        elif isinstance(value, (Iterator, ItemsView, KeysView, ValuesView)):
            found = []
            for part in value:
                self.pay(STEP)
                found.append(part)
            return found
        elif not isinstance(value, range):  # which is paid for by whoever walks along it
            self.pay(size(value))
        return value

    def text(self, value: Any) -> str:
        """How a value is written."""
        if not isinstance(value, str):
            self.pay(REPR * self.price(value))
        return str(self.made(str(value)))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self.pay(STEP)
        if operator == "%" and isinstance(left, str):
            return formatted(self, left, *(right if isinstance(right, tuple) else (right,)))
        if operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(many, (str, list, tuple)) and isinstance(times, int):
                    self.pay(size(many) * max(0, times))
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            if left.bit_length() * abs(right) > MAX_BITS:
                raise FormatError(f"it computes numbers of more than {MAX_BITS} bits")
        else:
            self.pay(size(left) + size(right))
        return self.made(super().call_binop(context, operator, left, right))

    def getattr(self, obj: Any, attribute: str) -> Any:
        self.pay(STEP)
        found = self._attribute(obj, attribute)
        return self._item(obj, attribute) if found is None else found

    def getitem(self, obj: Any, argument: Any) -> Any:
        self.pay(STEP if isinstance(argument, str) else STEP + self.price(argument))
        found = self._item(obj, argument)
        if isinstance(found, Undefined) and isinstance(argument, str):
            attribute = self._attribute(obj, argument)
            return found if attribute is None else attribute
        return found

    def _item(self, obj: Any, key: Any) -> Any:
        try:
            return obj[key]
        except (TypeError, LookupError, AttributeError):
            return self.undefined(obj=obj, name=key)

    def _attribute(self, obj: Any, name: str) -> Any:
        """What an object has by a name, None where it has nothing."""
        if name.startswith("_"):
            raise SecurityError(f"it reaches for {name:.60}, which is Python's own")
        if isinstance(obj, (Namespace, Undefined)):
            return getattr(obj, name, None)
        allowed = next((names for kind, names in ATTRIBUTES.items() if isinstance(obj, kind)), ())
        if name in allowed:
            return getattr(obj, name)
        return self.unsafe_undefined(obj, name) if hasattr(type(obj), name) else None

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        named = {name: value for name, value in kwargs.items() if name not in JINJA_OWN}
        given = [*args, *named.values()]
        __self.pay(CALL + sum(map(size, given)))
        owner, method = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if __obj is dict or isinstance(owner, tuple(ATTRIBUTES)):
            read = sum(map(__self.price, given))
            __self.pay(read + (0 if method == "get" else size(owner)))
            if __obj is not dict and method not in LINEAR:
                __self.pay(searched(__self.price(owner), read))
        if isinstance(owner, str) and method in METHOD_PRICES:
            __self.pay(METHOD_PRICES[method](owner, *args, **named))
        return __self.made(super().call(__context, __obj, *args, **kwargs))


class Metering(NodeTransformer):
    """Puts payments where a template's own code would take time unseen.

    Attributes:
        work: nodes in bodies, once for each body that they are in, as the compiler walks them.
    """

    def __init__(self) -> None:
        self.work = 0

    def visit_For(self, node: Any) -> Any:
        self.visit_Macro(node)
        if node.test is not None:
            node.test = _call(node.test, "(pay)", nodes.Const(_count([node.test])))
        return node

    def visit_Macro(self, node: Any) -> Any:
        self.generic_visit(node)
        steps = _count(node.body)
        self.work += BODY + steps
        node.body.insert(0, _payment(steps))
        return node

    visit_CallBlock = visit_Block = visit_Macro

    def visit_Compare(self, node: Any) -> Any:
        self.generic_visit(node)
        rest = [part for o in node.ops for part in (nodes.Const(o.op), o.expr)]
        return _call(node.expr, "(compare)", *rest)

    def visit_Concat(self, node: Any) -> Any:
        self.generic_visit(node)
        return _call(node.nodes[0], "(concat)", *node.nodes[1:])

    def visit_Getitem(self, node: Any) -> Any:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        ends = (node.arg.start, node.arg.stop, node.arg.step)
        return _call(node.node, "(slice)", *(nodes.Const(None) if e is None else e for e in ends))

    def visit_List(self, node: Any) -> Any:
        return _call(self.generic_visit(node), "(list)")

    def visit_Dict(self, node: Any) -> Any:
        self.generic_visit(node)
        for pair in node.items:
            pair.key = _call(pair.key, "(key)")
        return _call(node, "(list)")

    def visit_Tuple(self, node: Any) -> Any:
        self.generic_visit(node)
        return _call(node, "(list)") if node.ctx == "load" else node


def _count(body: list[Any]) -> int:
    found, left = 1, list(body)
    while left:
        found += 1
        left.extend(left.pop().iter_child_nodes())
    return found


def _call(value: Any, name: str, *args: Any) -> Any:
    return nodes.Filter(value, name, list(args), [], None, None, lineno=value.lineno)


def _payment(count: int) -> Any:
    return nodes.ExprStmt(_call(nodes.Const(None, lineno=1), "(pay)", nodes.Const(count)), lineno=1)


def metered(source: str) -> Any:
    """The compiled code of a template; raises what Jinja and Python raise for one that is wrong."""
    sandbox, metering = Sandbox(), Metering()
    tree = metering.visit(sandbox.parse(source))
    if _count([tree]) + metering.work > MAX_WORK:
        raise FormatError(f"expected a template of at most {MAX_WORK} parts, counted as they nest")
    return sandbox.compile(tree)


@pass_context
def _refuse(context: Any, reason: Any) -> None:
    raise Refusal(context.environment.text(reason))


def _now(form: str) -> str:
    if len(form) > MAX_FORMAT or re.search(r"%\W*\d", form):
        raise FormatError(f"it writes the time by a form that is not provided: {form:.40}")
    return datetime.now().strftime(form)
