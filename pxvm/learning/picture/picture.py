"""Pictures of a network to look at: a page as a map, search results framed and zoomed, its growth.

The page itself is black and white; colour belongs to these views.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from pxvm.learning.errors import NetworkError
from pxvm.learning.picture.painting import Color, density, find_words, frame, paper, write
from pxvm.learning.store.foreign import decode_rows
from pxvm.learning.store.record import KINDS, Record
from pxvm.learning.store.store import Store
from pxvm.learning.typeset.drawing import Bits
from pxvm.learning.typeset.rendering import compose
from pxvm.visual.theme import BACKGROUND, INK, LINE, MUTED, PANEL, mix

#: A colour for each rank of a hit, then again from the start.
RANKS: tuple[Color, ...] = (
    (255, 122, 89), (84, 176, 255), (104, 219, 160), (222, 132, 240),
    (255, 204, 92), (84, 214, 222), (255, 120, 160), (176, 196, 96),
)  # fmt: skip
KIND_COLORS: dict[str, Color] = {
    "interaction": (84, 176, 255), "note": (104, 219, 160), "document": (255, 178, 92),
    "correction": (222, 132, 240), "tombstone": (130, 136, 150), "program": (84, 214, 222),
    "measurement": (255, 222, 89),
}  # fmt: skip

_MARGIN = 28
_ZOOM = 2
_MOST_ROWS = 240  # rows of one hit that are shown
_MAP = 128  # pixels of width of a page's map: an eighth
_LARGEST_MAP = 1 << 20  # pixels up to which a page is drawn larger than that
_MOST_MAPS = 6
_NEWEST = 40  # pixels of a chart behind the last record, where what it brought is seen
_DATA: Color = (196, 164, 104)  # the rows that only the machine reads


class Found(Protocol):
    """What is drawn of a hit."""

    @property
    def record(self) -> Record: ...
    @property
    def score(self) -> float: ...


def draw_hits(
    network: Store | str | Path, hits: Sequence[Found], words: Iterable[str] = ()
) -> Image.Image:
    """A search result: a map of each page with the hits framed, and every hit enlarged beside it.

    Args:
        network: the network, or its path.
        hits: what was found, the best first.
        words: what to put under a marker pen in the records.

    Returns:
        An RGB picture.

    Raises:
        NetworkError: there is no hit to draw.
    """
    if not hits:
        raise NetworkError("no hits to draw; search for something that the network has")
    network = _opened(network)
    places = [network.locate(hit.record.sequence) for hit in hits]
    numbers = sorted({page for page, *_ in places})
    pages = {number: decode_rows(network.pages[number - 1]) for number in numbers}
    cards = [
        _card(rank, hit, place, pages[place[0]], words)
        for rank, (hit, place) in enumerate(zip(hits, places, strict=True))
    ]
    height = sum(card.height + _MARGIN for card in cards) - _MARGIN
    shown = numbers[:_MOST_MAPS]
    left = _MARGIN + len(shown) * (_MAP + 16) + 48
    image = Image.new("RGB", (left + cards[0].width + _MARGIN, height + 2 * _MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for column, number in enumerate(shown):
        x, rows = _MARGIN + column * (_MAP + 16), len(pages[number])
        tall = max(48, min(height - 24, rows // 8))
        write(image, x, _MARGIN, f"page {number}", MUTED)
        own = [(rank, p) for rank, p in enumerate(places) if p[0] == number]
        top = _MARGIN + 24
        image.paste(_map(pages[number], tall, PANEL), (x, top))
        for rank, (_, first, data, text) in own:
            start, stop = (top + row * tall // rows for row in (first, first + data + text))
            box = (x, start, x + _MAP, max(stop, start + 3))
            color = RANKS[rank % len(RANKS)]
            frame(draw, box, color, 2)
            target = _MARGIN + sum(card.height + _MARGIN for card in cards[:rank]) + 20
            elbow = left - 24 - 4 * (rank % 4)
            middle = (box[1] + box[3]) // 2
            draw.line([(box[2] + 2, middle), (elbow, middle), (elbow, target), (left, target)],
                      color, 2)  # fmt: skip
    y = _MARGIN
    for card in cards:
        image.paste(card, (left, y))
        y += card.height + _MARGIN
    return image


def _card(
    rank: int, hit: Found, place: tuple[int, int, int, int], page: Bits, words: Iterable[str]
) -> Image.Image:
    """One hit: a line about it, and its rows of the page enlarged in a frame."""
    number, first, data, text = place
    record, color = hit.record, RANKS[rank % len(RANKS)]
    rows = page[first + data : first + data + text]
    composition = compose(record, 8 * page.shape[1])
    marks = list(find_words(composition, words)) if composition.rows == text else []
    start = 0
    if len(rows) > _MOST_ROWS and marks:
        start = max(0, min(min(top for _, top, _, _ in marks) - 40, len(rows) - _MOST_ROWS))
    rows = rows[start : start + _MOST_ROWS]
    seen = paper(rows, _ZOOM, [(a, b - start, c, d - start) for a, b, c, d in marks])
    image = Image.new("RGB", (seen.width + 8, seen.height + 72), mix(PANEL, color, 0.10))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 43, 39), color)
    write(image, 22 - 6 * len(str(rank + 1)), 7, str(rank + 1), BACKGROUND, "large")
    where = f"page {number}, rows {first + data:,} to {first + data + text:,}"
    if text > len(rows):
        where += f"; {len(rows)} shown from row {start:,}"
    x = write(image, 60, 7, f"record {record.sequence}", INK, "large")
    x = write(image, x + 36, 7, f"score {hit.score:.3f}", color, "large")
    write(image, x + 36, 12, where, MUTED)
    why = " ".join(str(getattr(hit, "why", "")).split())
    write(image, 60, 43, why[:180], MUTED)
    image.paste(seen, (4, 68))
    draw.rectangle((0, 64, image.width - 1, image.height - 1), None, color, 4)
    return image


def _map(rows: Bits, height: int, ground: Color, width: int = _MAP) -> Image.Image:
    """A page made small: the more ink, the brighter."""
    light = np.clip(density(rows, height, width) * 2.6, 0, 1)[..., None]
    colors = np.array(ground) * (1 - light) + np.array(INK) * light
    return Image.fromarray(np.rint(colors).astype(np.uint8))


def draw_page(
    network: Store | str | Path, page: int = 1, hits: Sequence[Found] = ()
) -> Image.Image:
    """A whole page as a map, folded into strips: kinds in colour at the left, hits framed.

    Args:
        network: the network, or its path.
        page: number of the page, from 1.
        hits: what to frame.

    Returns:
        An RGB picture: a short page as large as it is, a long one down to an eighth.

    Raises:
        NetworkError: there is no such page.
    """
    network = _opened(network)
    paths = network.pages
    if not 1 <= page <= len(paths):
        raise NetworkError(f"page {page}: the network has pages 1 to {len(paths)}")
    rows = decode_rows(paths[page - 1])
    entries = network.entries()
    entries = entries[entries["page"] == page]
    pixels = 8 * rows.shape[1]
    part = next((n for n in (1, 2, 4) if len(rows) * pixels <= _LARGEST_MAP * n * n), 8)
    width, height = pixels // part, max(1, -(-len(rows) // part))
    strips = max(1, round((height / (width * 1.2)) ** 0.5))
    tall = -(-height // strips)
    whole = _map(rows, height, PANEL, width)
    kinds = Image.new("RGB", (8, height), BACKGROUND)
    brush = ImageDraw.Draw(kinds)
    framed = ImageDraw.Draw(whole)
    for entry in entries:
        top, data = int(entry["row"]) // part, int(entry["data_rows"])
        end = int(entry["row"] + entry["data_rows"] + entry["text_rows"]) // part
        brush.rectangle((0, top, 7, max(top, end - 1)), KIND_COLORS[KINDS[entry["kind"]]])
        brush.rectangle((4, top, 7, top + data // part), _DATA)
    for rank, hit in enumerate(hits):
        number, first, data, text = network.locate(hit.record.sequence)
        if number == page:
            top, end = first // part, (first + data + text) // part
            box = (2, top + 2, width - 2, max(top + 5, end - 2))
            frame(framed, box, RANKS[rank % len(RANKS)], 2)
    step = width + 8 + 20
    image = Image.new("RGB", (max(strips * step - 20, 900) + 2 * _MARGIN, tall + 132), BACKGROUND)
    title = f"{paths[page - 1].name}: page {page} of {len(paths)}"
    write(image, _MARGIN, 20, title, INK, "large")
    numbers = entries["sequence"]
    about = f"{len(rows):,} rows, {len(entries):,} records"
    if len(numbers):
        about += f", {int(numbers.min()):,} to {int(numbers.max()):,}"
    write(image, _MARGIN, 54, about, MUTED)
    x = _MARGIN
    for kind in dict.fromkeys(KINDS[k] for k in entries["kind"]):
        ImageDraw.Draw(image).rectangle((x, 82, x + 11, 93), KIND_COLORS[kind])
        x = write(image, x + 18, 80, kind, MUTED) + 24
    for strip in range(strips):
        start, stop = strip * tall, min((strip + 1) * tall, height)
        left = _MARGIN + strip * step
        image.paste(kinds.crop((0, start, 8, stop)), (left, 108))
        image.paste(whole.crop((0, start, width, stop)), (left + 8, 108))
    return image


def draw_growth(network: Store | str | Path) -> Image.Image:
    """How the network grew: records by kind, and rows of pixels, over the time of storing.

    Returns:
        An RGB picture of 1200 x 760 pixels.
    """
    network = _opened(network)
    entries = network.entries()
    image = Image.new("RGB", (1200, 760), BACKGROUND)
    write(image, 40, 24, f"growth of {network.pages[0].name}", INK, "large")
    times = entries["time"].astype(np.float64) / 1e6
    kinds = [(name, KIND_COLORS[name], (entries["kind"] == number).astype(int))
             for number, name in enumerate(KINDS) if (entries["kind"] == number).any()]  # fmt: skip
    parts = [("text that people read", INK, entries["text_rows"].astype(int)),
             ("data that the machine reads", _DATA, entries["data_rows"].astype(int))]  # fmt: skip
    _chart(image, (110, 110, 1160, 380), "records", times, kinds)
    _chart(image, (110, 450, 1160, 700), "rows of pixels", times, parts)
    return image


def _chart(
    image: Image.Image,
    box: tuple[int, int, int, int],
    title: str,
    times: np.ndarray,
    series: list[tuple[str, Color, np.ndarray]],
) -> None:
    """Sums over time, one upon another; over the records' order when all are of one second."""
    left, top, right, bottom = box
    draw = ImageDraw.Draw(image)
    order = np.argsort(times, kind="stable")
    by_time = bool(len(times)) and float(np.ptp(times)) >= 1
    along = times[order] if by_time else np.arange(len(times), dtype=float)
    first, span = (along[0], max(along[-1] - along[0], 1e-9)) if len(along) else (0.0, 1.0)
    total = sum(int(values.sum()) for _, _, values in series)
    ceiling = _round_up(total)
    for part in range(5):
        y = bottom - (bottom - top) * part // 4
        draw.line((left, y, right, y), LINE)
        label = f"{ceiling * part / 4:,.0f}"
        write(image, left - 12 - 10 * len(label), y - 8, label, MUTED)
    x = write(image, left, top - 30, f"{total:,} {title}", INK) + 30
    below = np.zeros(len(order))
    wide = right - left
    reach = wide - _NEWEST
    for name, color, values in series:
        above = below + np.cumsum(values[order])
        columns = np.searchsorted(along, first + span * np.arange(wide + 1) / reach, side="right")
        for pixel, count in enumerate(columns):
            low, high = (below[count - 1], above[count - 1]) if count else (0, 0)
            y0, y1 = (bottom - (bottom - top) * value / ceiling for value in (low, high))
            if y1 < y0:
                draw.line((left + pixel, y1, left + pixel, y0), color)
        below = above
        draw.rectangle((x, top - 26, x + 10, top - 16), color)
        x = write(image, x + 16, top - 30, name, MUTED) + 20
    if by_time:
        _dates(image, (left, left + reach, bottom), first, span)


def _round_up(value: int) -> int:
    """The next of 4, 8, 12, 20, 40, 80, 120, 200, 400, ..., whose quarters are round numbers."""
    power = 1
    while True:
        for digit in (4, 8, 12, 20):
            if digit * power >= value:
                return digit * power
        power *= 10


def _dates(image: Image.Image, ends: tuple[int, int, int], first: float, span: float) -> None:
    left, right, bottom = ends
    pattern = "%Y-%m-%d" if span > 5 * 86_400 else "%m-%d %H:%M" if span > 600 else "%H:%M:%S"
    for part in range(5):
        moment = datetime.fromtimestamp(first + span * part / 4, timezone.utc)
        label = moment.strftime(pattern)
        x = left + (right - left) * part // 4
        write(image, min(x - 5 * len(label), right - 10 * len(label)), bottom + 10, label, MUTED)


def _opened(network: Store | str | Path) -> Store:
    return network if isinstance(network, Store) else Store.open(network, read_only=True)
