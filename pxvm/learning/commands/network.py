"""``pxvm network``: look at a memory, check it, and change what it remembers."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pxvm.core.errors import PxvmError
from pxvm.core.saving import check_output
from pxvm.learning.commands.changes import correct, forget, tag
from pxvm.learning.commands.shared import (
    as_data,
    json_option,
    line,
    network_option,
    output_target,
    reading,
    record_name,
    save_picture,
    writing,
    yes_option,
)
from pxvm.terminal import counted, echo, echo_json, progress
from pxvm.terminal.options import FILE, device_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from PIL.Image import Image

    from pxvm.learning.care.maintenance import Outcome
    from pxvm.learning.store.record import Draft, Record
    from pxvm.terminal.progress import Update


@click.group(short_help="Look after the memory: check, forget, merge, export.")
def network() -> None:
    """Look at a network of knowledge, check it, and change what it remembers."""


@network.command(short_help="What the network holds.")
@network_option
@json_option
def info(path: Path, as_json: bool) -> None:
    """Show how much the network holds, of what kind, and how large its files are."""
    with reading(path) as memory:
        found = memory.stats()
    if as_json:
        echo_json(found)
        return
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found["kinds"].items())
    echo(f"{path}: {counted(found['records'], 'record')} in force ({kinds or 'none'})")
    rows, pages = counted(found["rows"], "row"), counted(found["pages"], "page")
    parts = [f"{found['records']:,} in force", f"{found['format']:,} on the format"]
    for key, what in (("about_others", "that tag or forget others"),
                      ("past", "replaced, forgotten or stored again")):  # fmt: skip
        parts += [f"{found[key]:,} {what}"] if found[key] else []
    echo(f"{counted(found['stored'], 'record')} stored in {rows} on {pages}: {', '.join(parts)}")
    echo(f"{found['bytes']:,} bytes, {found['exact_bytes']:,} of them exact data")
    echo(f"stored from {found['first'][:16]} to {found['last'][:16]} UTC")


@network.command(short_help="Check every byte and every pixel.")
@network_option
@json_option
def verify(path: Path, as_json: bool) -> None:
    """Read everything again; exit status 1 if anything is not as it was written."""
    from pxvm.learning.care.verifying import verify as verify_network

    with reading(path) as memory, progress("pages", not as_json) as update:
        report = verify_network(memory, update)
    if as_json:
        echo_json({"sound": report.sound, **asdict(report)})
    else:
        for problem in report.problems:
            echo(problem)
        for note in report.notes:
            echo(note)
        verdict = "sound" if report.sound else counted(len(report.problems), "problem")
        records, pages = counted(report.records, "record"), counted(report.pages, "page")
        echo(f"{path}: {records} on {pages}, {verdict}")
    if not report.sound:
        raise SystemExit(1)


@network.command(short_help="Save every whole record into a new network.")
@network_option
@click.option("-o", "--output", type=FILE, required=True, help="The network to make.")
@json_option
def repair(path: Path, output: Path, as_json: bool) -> None:
    """Write every record that is still whole to OUTPUT; the damaged network stays as it is."""
    from pxvm.learning import Network
    from pxvm.learning.care import maintenance

    output_target(output, path)
    with progress("repairing", not as_json) as update:
        outcome = maintenance.repair(Network.unopened(path), output, update)
    _tell(output, outcome, as_json)


@network.command(short_help="Every version of a record.")
@click.argument("name", metavar="ID")
@network_option
@json_option
def history(name: str, path: Path, as_json: bool) -> None:
    """Show all versions of a record (its id, the beginning of one, or its number), and what was
    said of them."""
    with reading(path) as memory:
        found = memory.history(record_name(name))
        live = memory.live_ids()
    if as_json:
        echo_json([{**as_data(record), "counts": record.id in live} for record in found])
        return
    for record in found:
        echo(f"{line(record)}{'' if record.id in live else '  (does not count)'}")
        for text in (record.query, record.answer):
            for row in text.splitlines():
                echo(f"        {row}")


@network.command(short_help="A map of a page, or of where a record stands.")
@network_option
@click.option("-o", "--output", type=FILE, help="The picture (default: NETWORK.view.png).")
@click.option("--page", type=click.IntRange(1), help="Page, from 1 (default: the last).")
@click.option("--record", "names", multiple=True, metavar="ID", help="Frame it; repeatable.")
@json_option
def view(
    path: Path, output: Path | None, page: int | None, names: tuple[str, ...], as_json: bool
) -> None:
    """Draw a page of the network as a map, its records coloured by kind."""
    from pxvm.learning.picture.picture import draw_page
    from pxvm.learning.search.search import Hit, Why

    with reading(path) as memory:
        found = [memory.record(record_name(name)) for name in names]
        if page is None:
            page = memory.locate(found[0].sequence)[0] if found else len(memory.pages)
        target = output_target(output or path.with_name(f"{path.stem}.view.png"), path)
        image = draw_page(memory, page, [Hit(record, 1.0, Why()) for record in found])
    _save(image, target, as_json)


@network.command(short_help="A picture of how the network grew.")
@network_option
@click.option("-o", "--output", type=FILE, help="The picture (default: NETWORK.growth.png).")
@json_option
def growth(path: Path, output: Path | None, as_json: bool) -> None:
    """Draw how many records of each kind there were, and how many rows, over time."""
    from pxvm.learning.picture.picture import draw_growth

    with reading(path) as memory:
        target = output_target(output or path.with_name(f"{path.stem}.growth.png"), path)
        image = draw_growth(memory)
    _save(image, target, as_json)


def _save(image: Image, target: Path, as_json: bool) -> None:
    save_picture(image, target)
    if as_json:
        echo_json({"output": target, "width": image.width, "height": image.height})
    else:
        echo(f"wrote {target}: {image.width} x {image.height} pixels")


@network.command(short_help="Give every record vectors of the model that is here.")
@network_option
@click.option("-o", "--output", type=FILE, help="Write a new network; this one stays as it is.")
@device_option("embeds")
@json_option
def reembed(path: Path, output: Path | None, device: str, as_json: bool) -> None:
    """Embed every record anew, so that all vectors are of one model, the one on this machine."""
    from pxvm.learning.care import maintenance
    from pxvm.learning.search.embedding import Embedder

    if output:
        output_target(output, path)
    embedder = Embedder.present(device)
    if embedder is None:
        raise PxvmError("no embedding model here: `pxvm models get minilm` brings one")
    opened = reading(path) if output else writing(path)
    with opened as memory, progress("embedding", not as_json) as update:
        outcome = maintenance.reembed(memory, embedder.vectors, output, progress=update)
    _tell(output or path, outcome, as_json)


@network.command(short_help="Remove what was forgotten from the files, for good.")
@click.option("--keep-history", is_flag=True, help="Keep what was replaced by newer versions.")
@network_option
@click.option("-o", "--output", type=FILE, help="Write a new network; this one stays as it is.")
@yes_option
@json_option
def compact(path: Path, output: Path | None, keep_history: bool, yes: bool, as_json: bool) -> None:
    """Write the network anew without what was forgotten, and without what a newer version has
    replaced: text, pictures, vectors and caches.

    Records that forget others or change their tags stay, however old: they hold in a merge with an
    older copy as well.
    """
    from pxvm.learning.care import maintenance

    if output:
        output_target(output, path)
    if as_json and not (yes or output):
        raise PxvmError("compacting cannot be undone: add --yes, or write elsewhere with -o")
    if not (yes or output):
        click.confirm(
            "What is forgotten or replaced cannot be brought back after this. Go on?", abort=True
        )
    opened = reading(path) if output else writing(path)
    with opened as memory, progress("compacting", not as_json) as update:
        before = memory.stats()["bytes"]
        outcome = maintenance.compact(memory, output, update, history=keep_history)
    _tell(output or path, outcome, as_json, before)


@network.command(short_help="Unite two networks.")
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="The network to make.")
@json_option
def merge(first: Path, second: Path, output: Path, as_json: bool) -> None:
    """Write everything that FIRST and SECOND know to OUTPUT; the order does not matter."""
    from pxvm.learning.care import maintenance

    output_target(output, first, second)
    with reading(first) as a, reading(second) as b, progress("merging", not as_json) as update:
        outcome = maintenance.merge(a, b, output, update)
    _tell(output, outcome, as_json)


@network.command(short_help="Write the memory to JSONL, Markdown, Parquet, Arrow or one PNG.")
@click.argument("output", type=FILE)
@click.option("--single", is_flag=True, help="One PNG, however many pages the network has.")
@click.option("--current", is_flag=True, help="Only what counts now, without its history.")
@network_option
@json_option
def export(output: Path, single: bool, current: bool, path: Path, as_json: bool) -> None:
    """Write the network to OUTPUT, whose name's end says how: .jsonl, .json, .md, .parquet, .arrow.

    Everything but what is forgotten goes out, so that `pxvm network import` gives the same memory.
    """
    from pxvm.learning.care import maintenance
    from pxvm.learning.exchange import exchange

    output_target(output, path)
    with reading(path) as memory:
        if single:
            with progress("exporting", not as_json) as update:
                outcome = maintenance.export_single(memory, output, update)
            _tell(output, outcome, as_json)
            return
        count = exchange.export(memory, output, current=current)
    if as_json:
        echo_json({"output": output, "records": count})
    else:
        what = "in force" if current else "stored, less what is forgotten and the one on the format"
        echo(f"wrote {output}: {counted(count, 'record')} {what}")


@network.command("import", short_help="Take records from a file, or the text of an old picture.")
@click.argument("file", type=FILE)
@click.option("--uncertain", is_flag=True, help="Of a picture, also text with unsure characters.")
@network_option
@json_option
def import_(file: Path, uncertain: bool, path: Path, as_json: bool) -> None:
    """Take what `pxvm network export` wrote back in, with its times, links and vectors; or what
    another program wrote: rows with a question and an answer, or with messages.

    A PNG is another network, or an old picture of plain text: its characters are looked up one by
    one, and passages that hold an unsure one are listed and left out, unless --uncertain is given.
    """
    from pxvm.learning.exchange import exchange
    from pxvm.learning.sources.known import Known

    notes: list[str] = []
    check_output(path, file)
    with writing(path, make=True) as memory, progress("importing", not as_json) as update:
        before = memory.stats()["stored"]
        if file.suffix.lower() == ".png":
            records = exchange.read_png(file, uncertain, notes)
        else:
            records = exchange.read_records(file)
        told = Counter[str]()
        taken = Known(memory).unforgotten(_told(records, update, told))
        kept = len(memory.append_many(taken))
        read, forgotten = told["read"], told["read"] - kept
        added = memory.stats()["stored"] - before
    if as_json:
        sums = {"read": read, "added": added, "forgotten": forgotten}
        echo_json({"network": path, **sums, "notes": notes})
        return
    for note in notes:
        echo(note)
    gone = f", {forgotten:,} forgotten or corrected before" if forgotten else ""
    echo(f"{path}: {counted(read, 'record')} read, {added:,} of them new{gone}")


def _told(
    records: Iterable[Record | Draft], update: Update, told: Counter[str]
) -> Iterator[Record | Draft]:
    for record in records:
        told["read"] += 1
        update(told["read"])
        yield record


def _tell(target: Path, outcome: Outcome, as_json: bool, before: int | None = None) -> None:
    """What a rewriting did; ``before`` is the size in bytes of what was rewritten."""
    if as_json:
        was = {} if before is None else {"before": before}
        echo_json({"output": target, **asdict(outcome), **was})
        return
    parts = [f"{counted(outcome.records, 'record')} stored"]
    parts += [f"{outcome.left_out:,} left out"] if outcome.left_out else []
    parts += [f"{outcome.damaged:,} damaged"] if outcome.damaged else []
    parts += [f"{outcome.size:,} bytes" + ("" if before is None else f" ({before:,} before)")]
    echo(f"wrote {target}: {', '.join(parts)}")


for command in (forget, correct, tag):
    network.add_command(command)
