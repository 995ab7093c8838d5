"""HTML to blocks: headings, paragraphs, lists, tables and code; what only decorates is left out."""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from pxvm.core.installation import library
from pxvm.learning.sources.blocks import Outline, Read
from pxvm.learning.sources.flow import Flow

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

DROPPED = {
    "script": "scripts",
    "style": "styles",
    "template": "templates",
    "noscript": "text for browsers without scripts",
    "nav": "navigation",
    "iframe": "frames",
    "video": "text for browsers without video",
    "audio": "text for browsers without sound",
    "canvas": "text for browsers without canvas",
}
THINGS = {"img": "picture", "video": "recording", "audio": "recording", "iframe": "frame",
          "object": "picture", "embed": "picture"}  # fmt: skip
HEADINGS = {f"h{depth}": depth for depth in range(1, 7)}
LISTS = {"ul", "ol", "menu", "dir"}
INLINE = {
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "button", "cite", "code", "data", "del",
    "dfn", "em", "font", "i", "img", "input", "ins", "kbd", "label", "mark", "math", "meter",
    "nobr", "output", "progress", "q", "rp", "rt", "ruby", "s", "samp", "small", "span",
    "strike", "strong", "sub", "sup", "svg", "text", "time", "tspan", "tt", "u", "var", "wbr",
    "mi", "mo", "mn", "mrow", "msup", "msub", "mfrac", "mtext", "semantics", "g", "path",
}  # fmt: skip
VOID = {
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr", "basefont", "bgsound", "frame", "keygen",
}  # fmt: skip

DEEPEST = 500  # elements inside each other that are told apart, as browsers do
TAG = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(?P<raw>script|style|textarea|title|xmp|iframe|noembed|noframes)\b.*?(?:</(?P=raw)|\Z)"
    r"|<(?P<end>/?)(?P<name>[a-z][^\s/<>]*)(?=[\s/>])[^<>]*>",
    re.DOTALL | re.IGNORECASE,
)
#: Elements that another of their kind ends, or whatever holds them.
IMPLIED = {"p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option",
           "optgroup", "colgroup", "rb", "rt", "rp", "html", "head", "body"}  # fmt: skip
#: Elements whose end also ends what stands open inside them.
BLOCKS = {
    "address", "article", "aside", "blockquote", "center", "details", "dialog", "dir", "div", "dl",
    "fieldset", "figcaption", "figure", "footer", "header", "hgroup", "main", "menu", "nav", "ol",
    "pre", "section", "summary", "ul",
}  # fmt: skip
XHTML = re.compile(r"\s*(?:<\?xml|<!DOCTYPE[^>]*XHTML)|<html[^>]*w3\.org/1999/xhtml", re.I)
MARKUP = re.compile(r"<[^<>]*>")
SHADOW = re.compile(r"<template(?=[^<>]*\sshadowrootmode)", re.I)  # a template that is shown
CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
EMPTY = re.compile(r"<([a-z][\w:-]*)(?=[\s/])([^<>]*)/>", re.I)


def read_html(text: str) -> Read:
    """Blocks under their headings, as plain text; the page's title stands above all."""
    if XHTML.search(text, 0, 1_000):
        text = EMPTY.sub(_opened, CDATA.sub(lambda found: escape(found[1]), text))
    text = SHADOW.sub("<div", text)
    tree = library("selectolax.lexbor", "documents").LexborHTMLParser(_shallow(text))
    read, outline = Read(), Outline()
    flow = Flow(read, outline)
    for title in tree.css("head > title")[:1]:
        flow.heading(0)
        flow.text(title.text())
        flow.end_heading()
        title.decompose()
    if tree.root is not None:
        _walk(tree.root.parent or tree.root, flow)  # comments stand around the root, too
    flow.close()
    read.blocks = outline.close()
    return read


def _walk(root: LexborNode, flow: Flow) -> None:
    """Everything in a tree, in order."""
    depth, node = 0, root
    while True:
        if (name := node.tag) == "-text":
            flow.text(node.text_content or "")
        elif name == "-comment":
            flow.drop("comments")
            flow.text(node.comment_content or "")
            flow.undrop()
        elif name:
            _begin(name, node, flow)
        inner = node.child
        if inner is not None:
            node, depth = inner, depth + 1
            continue
        _end(name or "", node, flow)
        while (after := node.next) is None:
            outer = node.parent
            if depth == 0 or outer is None:
                return
            node, depth = outer, depth - 1
            _end(node.tag or "", node, flow)
        if depth == 0:
            return
        node = after


def _begin(name: str, node: LexborNode, flow: Flow) -> None:
    if name in THINGS:
        flow.thing(THINGS[name])
    if name == "img" and (said := (node.attributes.get("alt") or "").strip()):
        flow.text(f"[{said}]")
    if name == "input" and node.attributes.get("type") not in ("hidden", "password"):
        flow.text(f" {node.attributes.get('value') or ''} ")
    if name == "a" and re.match(r"(?i)(?:https?|ftp|mailto):", node.attributes.get("href") or ""):
        flow.thing("link target")
    if reason := _dropped(name, node):
        flow.block()
        flow.drop(reason)
        if name == "template":  # what it holds is no part of the tree
            flow.text(MARKUP.sub(" ", node.html or ""))
    elif name == "br":
        flow.line_end()
    elif name in HEADINGS:
        flow.heading(HEADINGS[name])
    elif name in ("pre", "listing", "xmp"):
        flow.code()
    elif name == "table":
        flow.table()
    elif name == "tr":
        flow.row()
    elif name in ("td", "th"):
        flow.cell(name == "th")
    elif name in LISTS:
        flow.list()
    elif name == "li":
        flow.item()
    elif name == "option":
        flow.text(" ")
    elif name not in INLINE and not name.startswith("-"):
        flow.block()


def _end(name: str, node: LexborNode, flow: Flow) -> None:
    if _dropped(name, node):
        flow.undrop()
    elif name in HEADINGS:
        flow.end_heading()
    elif name in ("pre", "listing", "xmp"):
        flow.end_code()
    elif name == "table":
        flow.end_table()
    elif name == "tr":
        flow.end_row()
    elif name in ("td", "th"):
        flow.end_cell()
    elif name in LISTS:
        flow.end_list()
    elif name not in INLINE and not name.startswith("-") and name not in ("br", "option"):
        flow.block()


def _dropped(name: str, node: LexborNode) -> str:
    """Why an element is left out, or ""."""
    if name in DROPPED:
        return DROPPED[name]
    if name in ("div", "ul", "section", "aside") and node.attributes.get("role") == "navigation":
        return DROPPED["nav"]
    return ""


def _opened(tag: re.Match[str]) -> str:
    """An empty element of XHTML as HTML writes it."""
    name = tag[1].lower()
    return tag[0] if name in VOID else f"<{tag[1]}{tag[2]}></{tag[1]}>"


def _shallow(text: str) -> str:
    """A page without tags that stand too deep inside others.

    A parser looks through all open elements at each tag, so that a page of nothing but ``<div>``
    would take it forever. Here the depth is never taken for less than it is.
    """
    if len(text) < 2 * DEEPEST:
        return text
    open_: list[tuple[str, bool]] = []  # elements, and whether they were kept
    inline: Counter[str] = Counter()
    kept: list[str] = []
    done = 0
    for tag in TAG.finditer(text):
        name = (tag["name"] or "").lower()
        if not name or name in VOID or name in IMPLIED:
            continue
        keep = True
        if name in INLINE:
            inline[name] += -1 if tag["end"] else 1
            inline[name] = max(inline[name], 0)
            keep = bool(tag["end"]) or inline[name] < DEEPEST // 5
        elif not tag["end"]:
            keep = len(open_) < DEEPEST
            open_.append((name, keep))
        elif open_ and (place := _place(open_, name)) is not None:
            keep = open_[place][1]
            del open_[place:]
        if not keep:
            kept.append(text[done : tag.start()])
            done = tag.end()
    return "".join([*kept, text[done:]]) if kept else text


def _place(open_: list[tuple[str, bool]], name: str) -> int | None:
    """The place of the element that an end tag ends."""
    if open_[-1][0] == name:
        return len(open_) - 1
    for place in range(len(open_) - 1, max(len(open_) - 32, -1), -1):
        if open_[place][0] == name:
            return place
        if name not in BLOCKS or open_[place][0] not in BLOCKS:
            return None
    return None
