"""The command line: one click group, each command's module imported only when it runs."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING

import click

from pxvm import __version__
from pxvm.terminal import counted, echo, echo_json, echo_table, echo_text
from pxvm.terminal.options import (
    BYTES,
    FILE,
    device_option,
    larger_files,
    layout_option,
    set_option,
)

if TYPE_CHECKING:
    from pxvm.core.program import Region

# Commands that live beside what they show: name -> (module, one line for the list).
ELSEWHERE = {
    "view": ("pxvm.visual.commands", "Render a labelled picture of a program."),
    "trace": ("pxvm.visual.commands", "Table and animation of a run."),
    "debug": ("pxvm.visual.commands", "Step forward and back in a terminal."),
    "diff": ("pxvm.visual.commands", "First differing pixel of two images."),
    "profile": ("pxvm.visual.profile_command", "Time, bytes and operations per opcode."),
    "learn": ("pxvm.learning.commands.memory", "Take files and folders into the memory."),
    "recall": ("pxvm.learning.commands.memory", "Find what the memory knows of a question."),
    "network": ("pxvm.learning.commands.network", "Check, forget, merge, export the memory."),
    "import": ("pxvm.models.import_command", "Turn a trained model into a picture."),
    "models": ("pxvm.models.commands", "Models by name: list, get, path."),
    "chat": ("pxvm.models.commands", "Talk with a model."),
    "generate": ("pxvm.models.commands", "Continue a text."),
    "embed": ("pxvm.models.commands", "Turn sentences into vectors."),
    "ask": ("pxvm.integration.commands.asking", "Ask a model, with what the memory knows."),
    "coach": ("pxvm.coach.commands", "Write pixel programs for tasks, and remember them."),
    "tune": ("pxvm.tuning.commands", "Choose by measuring: bits of weights, ways to run."),
    "mcp": ("pxvm.integration.commands.offering", "Offer a memory to assistants (MCP)."),
    "serve": (
        "pxvm.integration.commands.offering",
        "Serve a model, with a memory, to OpenAI clients.",
    ),
    "studio": ("pxvm.studio.commands", "A page: see programs run, talk, read the memory."),
    "talk": ("pxvm.integration.commands.asking", "Talk with a model that remembers."),
    "eval": ("pxvm.models.commands", "Perplexity of a text."),
}


class LazyGroup(click.Group):
    """A group whose foreign commands are imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in ELSEWHERE:
            module = importlib.import_module(ELSEWHERE[name][0])
            # "eval" and "import" are Python's own words: those commands are eval_command, ...
            command: click.Command = getattr(module, f"{name}_command", None) or getattr(
                module, name
            )
            return command
        return super().get_command(ctx, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, ELSEWHERE[name][1] if name in ELSEWHERE else self.commands[name].short_help)
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl([(name, text or "") for name, text in rows])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pxvm")
def cli() -> None:
    """Programs, data, results and memory as pixels.

    Exit status: 0 done, 1 the answer is no (damaged, different), 2 the input is refused, 3 a fault
    of pxvm itself.
    """


FAULT, INTERRUPTED = 3, 130


def shows_result(region: Region) -> bool:
    """True for what a person wants to see after a run: no code, font, constants or caches."""
    if region.role == "tensor":
        return region.encoding in ("I32 state", "I8 state")
    return region.role in ("matrix", "vector", "scalar")


@cli.command(short_help="Run a program; its image becomes the result.")
@click.argument("file", type=FILE)
@click.option("-o", "--output", type=FILE, help="Where the result goes (default: FILE.out.png).")
@click.option("--max-steps", type=click.IntRange(0), help="At most so many instructions.")
@device_option("runs it")
@click.option("--threads", type=click.IntRange(1), help="Worker threads (default: all).")
@layout_option
@set_option
@larger_files
@click.option("--json", "as_json", is_flag=True, help="Print output path and regions as JSON.")
def run(
    file: Path,
    output: Path | None,
    max_steps: int | None,
    device: str,
    threads: int | None,
    layout: str,
    settings: tuple[str, ...],
    max_pixels: int | None,
    as_json: bool,
) -> None:
    """Run the program in FILE and write the resulting image. FILE is never changed."""
    from pxvm.core.container import open_image
    from pxvm.core.interpreter import run_program, save_image
    from pxvm.core.program import load_program
    from pxvm.core.saving import check_output
    from pxvm.core.tensor import State
    from pxvm.visual.theme import brief

    target = output or file.with_name(f"{file.stem}.out.png")
    check_output(target, file)
    result = open_image(file, max_pixels=max_pixels)
    for setting in settings:
        from pxvm.visual.profile import set_scalar

        set_scalar(result, setting)
    run_program(result, max_steps, device=device, threads=threads)
    save_image(result, target, layout=layout)
    program = load_program(result)
    if program.dialect == 1:
        state = program.region("state").values(result)
        for word, what in (
            (State.SATURATED, "numbers did not fit 32 bits: inputs may be far outside what the"
             " program was made for"),
            (State.CLAMPED, "indexes were outside their table: the nearest was taken"),
        ):  # fmt: skip
            if state[word]:
                echo(f"note: {what}", err=True)
    regions = [r for r in program.regions if shows_result(r)]
    if as_json:
        values = [
            {
                "name": r.name,
                "role": r.role,
                "encoding": r.encoding,
                "shape": r.shape,
                "values": r.values(result).tolist(),
            }
            for r in regions
        ]
        echo_json({"output": str(target), "regions": values})
        return
    widest = max((len(region.name) for region in regions), default=0)
    for region in regions:
        size = "x".join(map(str, region.shape))
        shown = brief(region.values(result))
        echo(f"{region.name:>{max(6, widest)}}  {region.role} {size} {region.encoding}: {shown}")
    echo(f"wrote {target}")


@cli.command(short_help="Assemble font-code text into a program.")
@click.argument("file", type=BYTES)
@click.option("-o", "--output", type=FILE, required=True, help="The .pxi to write.")
@layout_option
def asm(file: IO[bytes], output: Path, layout: str) -> None:
    """Assemble the font-code in FILE ("-" for standard input) into OUTPUT.

    A program that is assembled but could not run is written all the same, with a note.
    """
    from pxvm.core.container import save_image
    from pxvm.core.errors import PxvmError
    from pxvm.core.fontcode import assemble
    from pxvm.core.png import SIGNATURE
    from pxvm.core.saving import check_output
    from pxvm.core.verifier import verify as verify_program

    check_output(output, file.name)
    data = file.read()
    if data.startswith(SIGNATURE):
        raise PxvmError(f"{file.name}: this is a PNG, not text; `pxvm dis` shows a program as text")
    image = assemble(data.decode("utf-8"))
    save_image(image, output, layout=layout)
    try:
        verify_program(image)
    except PxvmError as error:
        echo(f"note: this program cannot run: {error}", err=True)
    echo(f"wrote {output}: {image.shape[1]}x{image.shape[0]} pixels")


@cli.command(short_help="Disassemble a program into font-code text.")
@click.argument("file", type=FILE)
@click.option("-o", "--output", type=FILE, help="Default: standard output.")
@click.option("--code-only", is_flag=True, help="Leave out pixels of data, such as weights.")
@larger_files
def dis(file: Path, output: Path | None, code_only: bool, max_pixels: int | None) -> None:
    """Print the font-code text of FILE; assembling it gives the same pixels."""
    from pxvm.core.container import open_image
    from pxvm.core.fontcode import disassembly
    from pxvm.core.saving import check_output, replacing

    elsewhere = output is not None and str(output) != "-"
    if output and elsewhere:
        check_output(output, file)
    lines = disassembly(open_image(file, max_pixels=max_pixels), data=not code_only)
    if output and elsewhere:
        with replacing(output) as stream:
            stream.writelines(f"{line}\n".encode() for line in lines)
    else:
        for line in lines:
            echo(line)


@cli.command(short_help="Check a file's bytes and its program.")
@click.argument("file", type=FILE)
@larger_files
@click.option("--json", "as_json", is_flag=True, help='Print {"valid": …, "reason": …}.')
def verify(file: Path, max_pixels: int | None, as_json: bool) -> None:
    """Check every checksum of FILE, then whether its program would be admitted to run."""
    from pxvm.core.container import check_file, open_image
    from pxvm.core.errors import PxvmError
    from pxvm.core.verifier import verify as verify_program

    try:
        check_file(file, max_pixels=max_pixels)
        program = verify_program(open_image(file, max_pixels=max_pixels))
    except PxvmError as error:
        if as_json:
            echo_json({"valid": False, "reason": str(error)})
        else:
            echo(f"{file}: refused: {error}")
        raise SystemExit(1) from None
    if as_json:
        echo_json({"valid": True, "reason": ""})
    else:
        count = counted(len(program.instructions), "instruction")
        echo(f"{file}: valid, dialect {program.dialect}, {count}")


@cli.command(short_help="Show what a file holds.")
@click.argument("file", type=FILE)
@larger_files
@click.option("--json", "as_json", is_flag=True, help="Print file, instructions, regions as JSON.")
def info(file: Path, max_pixels: int | None, as_json: bool) -> None:
    """Show the container, the instructions and the regions of FILE."""
    from dataclasses import asdict

    from pxvm.core.container import inspect_file, open_image
    from pxvm.core.program import load_program

    found = asdict(inspect_file(file))
    program = load_program(open_image(file, max_pixels=max_pixels))
    if as_json:
        echo_json(
            {
                "file": found,
                "dialect": program.dialect,
                "instructions": [str(i) for i in program.instructions],
                "regions": [
                    {"name": r.name, "role": r.role, "encoding": r.encoding, "shape": r.shape}
                    for r in program.regions
                ],
            }
        )
        return
    echo("  ".join(f"{key} {value}" for key, value in found.items()))
    echo(f"dialect {program.dialect}")
    for i in program.instructions:
        echo(f"  {i.index:>4}  {i!s:<16} {i.op.name:<8} {i.op.semantics}")
    for r in program.regions:
        echo(f"  {r.name:>6}  {r.role:<8} {'x'.join(map(str, r.shape)):<12} {r.encoding}")


@cli.command(short_help="Show the GPUs that programs can run on.")
@click.option("--json", "as_json", is_flag=True, help="Print features and limits as JSON.")
def gpus(as_json: bool) -> None:
    """List the GPUs, the best first; the number is N of --device gpu:N.

    How fast each is, and whether `auto` takes it, is measured once and kept in the cache folder.
    """
    from dataclasses import asdict

    from pxvm.gpu.devices import FAMILIAR, LIMITS, NONE, adapters
    from pxvm.gpu.measuring import measured

    found = [(g, measured(g)) for g in adapters()]
    if as_json:
        echo_json(
            [
                {
                    "number": g.number, "name": g.name, "kind": g.kind, "library": g.through,
                    "backend": g.backend, "driver": g.driver, "used": m.use(g.is_software),
                    "measured": asdict(m), "limits": g.limits, "features": list(g.features),
                }
                for g, m in found
            ]
        )  # fmt: skip
        return
    if not found:
        echo(NONE)
        return
    echo_table(
        {"device": "left", "name": "left", "kind": "left", "through": "left", "driver": "left",
         "one piece": "right", "copies": "right", "used": "left"},
        [
            (f"gpu:{g.number}", g.name, "software" if g.is_software else g.kind,
             f"{g.through}, {g.backend}", g.driver, f"{g.limits[list(LIMITS)[1]] >> 20} MiB",
             f"{m.copy / 1e9:.3g} GB/s" if m.copy else "?", m.use(g.is_software))
            for g, m in found
        ],
    )  # fmt: skip
    for g, _ in found:
        names = [word for word, names in FAMILIAR.items() if not names.isdisjoint(g.features)]
        echo(f"gpu:{g.number} has {', '.join(names) or 'what WebGPU promises, and no more'}")


@cli.command(short_help="Compress a .pxi for shipping.")
@click.argument("source", type=FILE)
@click.argument("target", type=FILE)
@larger_files
def pack(source: Path, target: Path, max_pixels: int | None) -> None:
    """Rewrite SOURCE as a compressed PNG at TARGET; the pixels stay the same."""
    from pxvm.core.container import pack as pack_file
    from pxvm.core.saving import check_output

    check_output(target, source)
    before = source.stat().st_size
    pack_file(source, target, max_pixels=max_pixels)
    echo(f"{source}: {before} bytes, {target}: {target.stat().st_size} bytes")


@cli.command(short_help="Lay a .pxi out so that it can be memory-mapped.")
@click.argument("source", type=FILE)
@click.argument("target", type=FILE)
@larger_files
def unpack(source: Path, target: Path, max_pixels: int | None) -> None:
    """Rewrite SOURCE as a mappable PNG at TARGET; the pixels stay the same."""
    from pxvm.core.container import unpack as unpack_file
    from pxvm.core.saving import check_output

    check_output(target, source)
    before = source.stat().st_size
    unpack_file(source, target, max_pixels=max_pixels)
    echo(f"{source}: {before} bytes, {target}: {target.stat().st_size} bytes")


def main() -> None:
    """Entry point: bad input ends in one line on standard error and exit status 2."""
    from pxvm.core.errors import PxvmError
    from pxvm.terminal.reports import show_reports

    _have_streams()
    show_reports()
    _clean_up_when_told_to_end()
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        echo_text(shown.getvalue(), err=True, nl=False)
        sys.exit(error.exit_code)
    except click.Abort as error:
        stopped = isinstance(error.__cause__, KeyboardInterrupt)
        echo("pxvm: stopped", err=True)
        sys.exit(INTERRUPTED if stopped else 1)
    except PxvmError as error:
        message = str(error)
    except OSError as error:
        reason = error.strerror or str(error)
        message = reason if error.filename is None else f"{error.filename}: {reason}"
        if error.filename is None:
            _let_go_of_output()
    except UnicodeError as error:
        message = f"input is not text: {error}"
    except MemoryError:
        message = "there is not enough memory for this"
    except Exception:
        echo_text(traceback.format_exc(), err=True, nl=False)
        echo("pxvm: a fault of pxvm itself, not of the input; the lines above tell where", err=True)
        sys.exit(FAULT)
    echo(f"pxvm: {message}", err=True)
    sys.exit(2)


def _have_streams() -> None:
    """Nothing stands in for a stream that was closed, or a file would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _clean_up_when_told_to_end() -> None:
    """SIGTERM and a closed terminal unwind what is at hand: nothing half-made stays behind."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # not nohup's
                signal.signal(number, end)


def _let_go_of_output() -> None:
    """What a full disk did not take of standard output is not tried again at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
