"""``pxvm import``: a trained model becomes a picture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pxvm.core.errors import ProgramError
from pxvm.terminal import echo, echo_json, echo_table, progress
from pxvm.terminal.options import FILE

if TYPE_CHECKING:
    from pxvm.models.importing.importer import Report


@click.command("import", short_help="Turn a trained model into a picture.")
@click.argument("source", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="The .pxi to write.")
@click.option(
    "--quant", default="int8", show_default=True,
    help="int8, int4, or auto: four bits where the file has them and they lose no more. Or steps of"
    " int8 weights: largest, percentile:99.9.",
)  # fmt: skip
@click.option("--calibration", type=FILE, help="ONNX: a .npz of typical inputs by name.")
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="ONNX: samples in a run, where the file leaves it open.",
)
@click.option("--report", is_flag=True, help="What each tensor lost, sizes, bytes a parameter.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def import_command(
    source: Path, output: Path, quant: str, calibration: Path | None, batch: int, report: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Convert SOURCE: a .gguf, a .safetensors with its config.json, a folder of those, or .onnx.

    Weights become int8 with one scale a row, or four bits in groups of 32; the tokenizer and the
    program travel along. The picture is mappable: it opens in no time and takes memory only where
    it is used.
    """
    from pxvm.models.importing.importer import import_model, quant_named

    bits, choice = quant_named(quant)
    with progress(f"importing {source.name}", not as_json) as update:
        if source.suffix == ".onnx":
            from pxvm.models.importing.onnx_import import import_onnx

            if bits == "int4":
                raise ProgramError("quant: ONNX graphs get int8 weights; found 'int4'")
            found = import_onnx(
                source, output, calibration=calibration, batch=batch, choice=choice,
                progress=update,
            )  # fmt: skip
        else:
            found = import_model(source, output, bits=bits, choice=choice, progress=update)
    for note in found.notes:
        echo(f"note: {note}", err=True)
    if as_json:
        echo_json(asdict(found) | {"bytes_per_parameter": found.bytes_per_parameter})
        return
    if report:
        _show(found)
    echo(
        f"wrote {output}: {found.parameters:,} parameters, {found.bytes:,} bytes,"
        f" {found.bytes_per_parameter:.3f} a parameter"
    )


def _show(report: Report) -> None:
    columns = {"tensor": "left", "type": "left", "shape": "right", "bytes": "right",
               "error": "right"}  # fmt: skip
    rows = [(t.name, t.dtype, f"{t.rows}x{t.cols}", f"{t.bytes:,}", f"{t.error:.3%}")
            for t in report.tensors]  # fmt: skip
    echo_table(columns, rows)
    bits = ", ".join(f"{name} {count}" for name, count in report.fracs.items())
    echo(f"read {report.source_bytes:,} bytes of weights")
    if bits:
        echo(f"fraction bits: {bits}")
    if report.errors:
        lost = ", ".join(f"{name} {error:.2%}" for name, error in report.errors.items())
        echo(f"error of the outputs on the calibration: {lost}")
