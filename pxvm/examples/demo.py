"""The tour: every example in turn, pictures in demo/. Run by ``make demo``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.examples.coaching import CURVE
from pxvm.examples.common import DEMO, command_line, shown
from pxvm.examples.knowledge_demo import NETWORK
from pxvm.examples.knowledge_demo import PICTURE as RECALLED
from pxvm.examples.make_matmul_test import FILE as PROGRAM
from pxvm.examples.remembering import AFTER, BEFORE
from pxvm.gpu.executor import available

HERE = Path(__file__).resolve().parent

STOPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("A dot product: two rows of pixels, one pixel of result", ("run_dot_test.py",)),
    ("A matrix product inside a picture", ("run_matmul_test.py",)),
    ("Addition and ReLU", ("run_add_relu_test.py",)),
    ("The dot product on a GPU", ("run_dot_test_gpu.py",)),
    ("One PNG, one answer on every executor", ("compare_cpu_gpu.py",)),
    ("A program that is text, and a program that writes HELLO", ("run_font_code_test.py",)),
    ("A network trained and written as one PNG", ("encode_pixellm_forward.py",)),
    ("Its predictions, every logit read from the PNG", ("run_pixellm_forward.py",)),
    ("Text from the PNG", ("generate_text.py",)),
    ("How close the PNG is to float32", ("validate_pixellm_accuracy.py",)),
    ("Handwritten digits recognised by two PNGs", ("digits.py",)),
    ("A memory in a picture: the beginning of a novel learned and asked", ("knowledge_demo.py",)),
    ("A chat model and an embedder, one PNG each", ("real_models.py",)),
    ("A coach that writes programs, and gets better at it", ("coaching.py",)),
    ("A model that remembers what it is taught, in a picture", ("remembering.py",)),
)


def main() -> int:
    """Run every stop; 0 when all of them succeeded."""
    for number, (title, command) in enumerate(STOPS, 1):
        print(f"\n== {number}/{len(STOPS)}  {title}", flush=True)
        script, *arguments = command
        if script == "run_dot_test_gpu.py" and (reason := available()):
            print(f"left out: {reason}")
            continue
        done = subprocess.run([sys.executable, str(HERE / script), *arguments], cwd=DEMO.parent)
        if done.returncode:
            print(f"{script} failed with exit status {done.returncode}", file=sys.stderr)
            return 1
    print(f"\nPictures in {DEMO}: {', '.join(pictures())}")
    print(f"See one compute, in the browser: pxvm studio {shown(PROGRAM)}")
    return 0


def pictures() -> list[str]:
    """Names of what there is to look at: memories, finds, how the coach got on; then the views."""
    best = [path.name for path in (RECALLED, NETWORK, CURVE, BEFORE, AFTER) if path.exists()]
    return [*best, *sorted(path.name for path in DEMO.glob("*.view.png"))]


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    sys.exit(main())
