"""A reader of knowledge networks written from docs/KNOWLEDGE_FORMAT.md alone.

It shares no line with the package: zlib, struct and hashlib, and Pillow for pages that another
program has saved. `read` gives every whole record, `counting` those that count.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path

KINDS = "interaction", "note", "document", "correction", "tombstone", "program", "measurement"
MAGIC = bytes.fromhex("897078524543 0D0A")
HEADER = struct.Struct(">8sIBBBBIIQqIIIIIIIIII16s32s")
FIELDS = (
    *("magic", "crc", "version", "kind", "codec", "flags", "data_rows", "text_rows", "number"),
    *("time", "stored", "inflated", "vector_bytes", "payload_crc", "text_crc", "row", "adler"),
    *("page", "generation", "text_bytes", "previous", "id"),
)
IEND = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))


def parse_header(row):
    """The fields of a header row, or None."""
    if len(row) != 128 or row[:8] != MAGIC:
        return None
    header = dict(zip(FIELDS, HEADER.unpack(row), strict=True))
    size = header["stored"] + header["vector_bytes"]
    right = header["crc"] == zlib.crc32(row[12:]) and header["version"] == 1
    return header if right and header["data_rows"] == 1 + (size + 127) // 128 else None


def parse_record(header, payload):
    """A record as a dictionary, or None when its payload is not what was written."""
    if zlib.crc32(payload) != header["payload_crc"]:
        return None
    text = payload[: header["stored"]]
    if header["codec"] == 1:
        text = zlib.decompress(text)
    assert len(text) == header["inflated"]
    record = {"tags": [], "source": "", "model": "", "event_time": None, "links": []}
    record |= json.loads(text)
    at, vectors = header["stored"], []
    for model, probe, dimension, scale in record.get("vectors", ()):
        values = struct.unpack(f"{dimension}b", payload[at : at + dimension])
        vectors.append((model, probe, scale, values))
        at += dimension
    record["vectors"] = vectors
    record |= {"kind": KINDS[header["kind"]], "number": header["number"], "time": header["time"]}
    record |= {"id": header["id"].hex(), "flags": header["flags"]}
    event = "" if record["event_time"] is None else str(record["event_time"])
    digest = hashlib.sha256()
    for part in (
        *(record[k] for k in ("kind", "query", "answer", "source")),
        event,
        *record["tags"],
    ):
        digest.update(struct.pack(">Q", len(part.encode())) + part.encode())
    assert digest.digest() == header["id"]
    return record


def next_slot(at, header):
    """The offset of the slot behind the record whose data chunk begins at ``at``."""
    rows = header["data_rows"]
    data_end = at + 12 + 129 * rows + 5 * -(-rows // 508)
    begin = slot = data_end + 12 + header["text_bytes"]
    if slot // 512 * 512 < data_end:
        slot = -(-data_end // 512) * 512
    if slot % 512 > 482:
        slot = -(-slot // 512) * 512
    sums = {5 * fives + 6 * sixes for fives in range(120) for sixes in range(6)}
    while slot - begin not in sums or slot % 512 > 482:
        slot += 1
    return slot


def data_rows(data, at, header):
    """The data rows of the record whose data chunk begins at ``at``."""
    rows, at = [], at + 8
    for number in range(header["data_rows"]):
        at += 5 if number % 508 == 0 else 0
        rows.append(data[at + 1 : at + 129])
        at += 129
    return b"".join(rows)


def record_at(data, at):
    """(header, record) at offset ``at``, or None."""
    header = parse_header(data[at + 14 : at + 142]) if at >= 0 else None
    record = header and parse_record(header, data_rows(data, at, header)[128:])
    return (header, record) if record else None


def read_file(data):
    """Records of a page in its own layout, found without a PNG library."""
    at = 542
    while at < len(data):
        found = record_at(data, at)
        if found:
            yield found
            at = next_slot(at, found[0]) + 30
        elif data[at - 12 : at] == IEND:
            return  # what follows was not acknowledged
        else:
            following = data.find(b"\0" + MAGIC, at + 14)
            at = following - 13 if following >= 0 else len(data)


def read_picture(path):
    """Records of a page as any program may have saved it."""
    from PIL import Image

    with Image.open(path) as picture:
        grey = picture.convert("L").point(lambda v: 255 if v > 127 else 0)
        pixels = grey.convert("1", dither=Image.Dither.NONE).tobytes()
    at = 0
    while at < len(pixels):
        header = parse_header(pixels[at : at + 128])
        rows = header["data_rows"] if header else 0
        record = header and parse_record(header, pixels[at + 128 : at + 128 * rows])
        if record:
            yield header, record
        at += 128 * (rows + header["text_rows"]) if record else 128


def pages(path):
    """The files of the network, in order."""
    path = Path(path)
    generation = next(read_picture(path))[0]["generation"]
    middle = f".g{generation}" if generation else ""
    page, number = path, 1
    while page.exists():
        yield page
        number += 1
        page = path.with_name(f"{path.stem}{middle}.p{number}{path.suffix}")


def read(path, *, as_picture=False):
    """Every record of the network at ``path``, in order, from the bytes or from the pixels."""
    for page in pages(path):
        found = read_picture(page) if as_picture else read_file(page.read_bytes())
        yield from (record for _, record in found)


def counting(records):
    """Those of ``records`` that count, in order."""
    records, ended = list(records), {}
    for record in records:
        for relation, target in record["links"]:
            if relation in ("corrects", "supersedes", "forgets"):
                ended[target] = max(record["time"], ended.get(target, record["time"]))
    last = {record["id"]: record["number"] for record in records}
    for record in records:
        alive = ended.get(record["id"], record["time"] - 1) < record["time"]
        if alive and not record["flags"] & 2 and last[record["id"]] == record["number"]:
            yield record
