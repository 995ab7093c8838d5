"""The first record of every network: how to read it without this program."""

from __future__ import annotations

from pxvm.learning.store.record import FORMAT_SOURCE, Draft

_TEXT = """\
# How to read this picture

This is a memory. Everything in it stands here twice: as text for people and, above each text, \
in rows that look like noise, as exact bytes for machines. These lines say how to get the bytes \
back, should the program that wrote them be gone. Any PNG library will do. Colours do not \
matter, only light and dark.

1. The picture is 1024 pixels wide, so a row is 128 bytes: eight pixels a byte, the leftmost is \
the highest bit, light is 1, dark is 0. The first row begins with these 8 bytes:

```
#...#..# .###.... .####... .#.#..#.    # light
   89       70       78       52       . dark
.#...#.# .#....## ....##.# ....#.#.
   45       43       0D       0A
```

2. Wherever a row begins with these bytes, a record begins. This row is its header; in numbers \
the highest byte comes first:

```
at  bytes
 8   4  CRC-32 of the bytes 12 to 127
12   1  version of the format: 1
13   1  kind: 0 interaction, 1 note, 2 document, 3 correction,
        4 tombstone, 5 program, 6 measurement
14   1  the text is 0 as it is, 1 in zlib format
15   1  1: acts on other records; 2: is no content itself
16   4  D: rows of data, this one included
20   4  T: rows of text
24   8  number of the record
32   8  time in microseconds since 1970, UTC
40   4  S: bytes of the text as stored
44   4  R: bytes of the text when inflated
48   4  V: bytes of the vectors
52   4  CRC-32 of the D - 1 rows of payload
56   4  CRC-32 of the T rows of text
60   4  number of this row on its page
64   4  Adler-32 of the PNG stream before this row
68   4  number of the page, from 1
72   4  how often the network was rewritten in place
76   4  bytes of the T rows when deflated
80  16  SHA-256 of the header before, first 16 bytes
96  32  id of the record
```

3. The next D - 1 rows are the payload, filled up with zeros. Its first S bytes, inflated, are \
JSON in UTF-8: query, answer, tags, source, model, event_time (microseconds), links to other \
records [relation, id], vectors [model, probe, dimension, scale], stored_before (earlier times). \
The next V bytes are the values of the vectors, one signed byte each, to be multiplied by the \
scale.

4. T rows follow with the text for people, then the next record. A full network goes on in files \
named NAME.p2.png, NAME.p3.png and so on, or NAME.g1.p2.png when it was rewritten once.

5. The id is SHA-256 over kind, query, answer, source, event_time in decimal digits (or nothing) \
and each tag in order: each as UTF-8 behind its length in 8 bytes.

6. A record with the link [corrects, id] or [supersedes, id] replaces an older one, [forgets, \
id] takes it back, [tags, id] changes its tags by the lines +tag and -tag of the answer."""


def format_note() -> Draft:
    """The record that explains the format; the same in every network of this version."""
    return Draft("", _TEXT, kind="note", source=FORMAT_SOURCE)
