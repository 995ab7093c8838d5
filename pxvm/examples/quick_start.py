"""A model with a memory in a few lines: ``python3 pxvm/examples/quick_start.py basic``.

``basic`` asks a question, stores the exchange, and asks what it was; ``teaching`` teaches a made-up
fact and asks for it; ``interactive`` is a conversation. LM Studio answers where it is running, else
the embedded model. The memory is ``demo/quick_start.png``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.core.errors import PxvmError
from pxvm.examples.common import DEMO, command_line, shown
from pxvm.integration.backends import ANY_MODEL, AUTO, LM_STUDIO, NAMES
from pxvm.integration.lm_studio_bridge import LMStudioPixelBridge
from pxvm.terminal import echo, echo_text

NETWORK = DEMO / "quick_start.png"
QUESTION = "In one sentence, what is a pixel?"


def basic(bridge: LMStudioPixelBridge) -> None:
    """Ask, store, and look at what the next question would be given."""
    answer = bridge.ask_lm_studio(QUESTION, max_tokens=60)
    echo(f"> {QUESTION}")
    echo_text(answer)
    network = bridge.memory.network
    before = network.stats()["rows"]
    bridge.append_interaction(QUESTION, answer)
    echo(f"{shown(network.path)} grew: {before} to {network.stats()['rows']} rows")
    echo()
    echo("The next question about pixels is asked together with:")
    echo_text(bridge.read_pixel_context("What did you tell me about a pixel?", 200))


def teaching(bridge: LMStudioPixelBridge) -> None:
    """A fact that nobody can know: asked, taught, asked again."""
    bridge.demonstrate_learning()


def interactive(bridge: LMStudioPixelBridge) -> None:
    """Talk; /help lists commands."""
    bridge.conversational_loop()


WAYS = {way.__name__: way for way in (basic, teaching, interactive)}


def main() -> None:
    """Open the bridge and show one of the three."""
    parser = command_line(__doc__)
    parser.add_argument("way", nargs="?", default="basic", choices=WAYS)
    parser.add_argument("--network", type=Path, default=NETWORK, help="default: %(default)s")
    parser.add_argument("--url", default=LM_STUDIO, help="default: %(default)s")
    parser.add_argument("--model", default=ANY_MODEL, help="default: the one that is loaded")
    parser.add_argument("--backend", default=AUTO, choices=NAMES, help="default: %(default)s")
    given = parser.parse_args()
    given.network.absolute().parent.mkdir(parents=True, exist_ok=True)
    try:
        with LMStudioPixelBridge(
            given.network, given.url, given.model, backend=given.backend
        ) as bridge:
            WAYS[given.way](bridge)
    except (PxvmError, OSError) as error:
        echo(f"pxvm: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        echo("pxvm: stopped", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
