"""Opening a `.pxi`: small files are read, large ones mapped; beside its peers.

Run: ``python -m benchmarks.container_open``. Times are the best of several, files in the page
cache; the files lie in a temporary folder and are deleted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from pxvm.core.container import check_file, open_image, pack, read_image, save_image

WIDTH = 4096
SIZES = ((1_000_000, "1 MB"), (100_000_000, "100 MB"), (1_000_000_000, "1 GB"))
PIXEL_LIMIT = Image.MAX_IMAGE_PIXELS


def best(action: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of ``repeats`` runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def shown(seconds: float) -> str:
    """A time in the unit that suits it."""
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


def raw_map(path: Path, size: int) -> object:
    """The least that mapping can cost: no structure, no checks."""
    return np.memmap(path, np.uint8, "c", shape=(size,))


def pillow(path: Path) -> np.ndarray:
    """Pillow's full decode of the same file."""
    with Image.open(path) as image:
        return np.asarray(image)


def weights(height: int) -> np.ndarray:
    """Pixels like those of a quantised network: four int8 weights each, excess 128."""
    normal = np.random.default_rng(0).normal(128, 30, (256, WIDTH, 4)).clip(0, 255)
    block = normal.astype(np.uint8)
    return np.concatenate([np.roll(block, 7 * i, axis=1) for i in range(-(-height // 256))])[
        :height
    ]


def opening(folder: Path) -> Table:
    """Mappable files of growing size."""
    table = Table(title="Opening a mappable file")
    for column in ("file", "open_image", "+ 1000 rows", "numpy.memmap", "read_image", "Pillow"):
        table.add_column(column, justify="right")
    for size, name in SIZES:
        height = round(size / (4 * WIDTH))
        path = folder / f"{name}.pxi"
        # Zeros that are never touched take no memory of their own.
        save_image(np.zeros((height, WIDTH, 4), np.uint8), path, layout="mappable")
        few = 1 if size > 500_000_000 else 3
        row = [
            best(lambda path=path: open_image(path), 200),
            best(lambda path=path: open_image(path, extra_rows=1000), 200),
            best(lambda path=path, size=size: raw_map(path, size), 200),
            best(lambda path=path: read_image(path), few),
            best(lambda path=path: pillow(path), few),
        ]
        table.add_row(name, *map(shown, row))
        path.unlink()
    return table


def throughput(folder: Path) -> Table:
    """Writing and reading 64 MB of weights."""
    image = weights(4096)
    table = Table(title=f"{image.nbytes / 1e6:.0f} MB of int8 weights, MB/s")
    for column in ("what", "write", "read", "check_file", "of raw size"):
        table.add_column(column, justify="right")
    path = folder / "weights.png"

    def rate(action: Callable[[], object]) -> str:
        return f"{image.nbytes / best(action, 2) / 1e6:.0f}"

    for layout in ("mappable", "compressed"):
        write = rate(lambda layout=layout: save_image(image, path, layout=layout))
        share = f"{path.stat().st_size / image.nbytes:.1%}"
        table.add_row(
            layout, write, rate(lambda: read_image(path)), rate(lambda: check_file(path)), share
        )
    save_image(image, folder / "mappable.pxi", layout="mappable")
    packed = rate(lambda: pack(folder / "mappable.pxi", path))
    table.add_row("pack", packed, "", "", f"{path.stat().st_size / image.nbytes:.1%}")
    picture = Image.fromarray(image)
    write = rate(lambda: picture.save(path))
    share = f"{path.stat().st_size / image.nbytes:.1%}"
    table.add_row("Pillow", write, rate(lambda: pillow(path)), "", share)
    table.add_row("Pillow's, by pxvm", "", rate(lambda: read_image(path)), "", "")
    return table


def main() -> None:
    """Print both tables."""
    console = Console()
    Image.MAX_IMAGE_PIXELS = None  # Pillow would refuse 1 GB
    try:
        with tempfile.TemporaryDirectory() as folder:
            console.print(opening(Path(folder)))
            console.print(throughput(Path(folder)))
    finally:
        Image.MAX_IMAGE_PIXELS = PIXEL_LIMIT


if __name__ == "__main__":
    main()
