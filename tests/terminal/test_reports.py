"""What modules report through ``logging`` is shown by the command line, and acts on no terminal."""

import subprocess
import sys

from pxvm.learning import Network

EVIL = "\x1b]0;pwned\x07"


def test_a_report_that_names_a_strangers_folder_shows_what_would_act(tmp_path):
    folder = tmp_path / f"a{EVIL}"
    folder.mkdir()
    with Network.open(folder / "k.png") as network:
        network.append("Where is the boat?", "In the boat house.")
    (tmp_path / "elsewhere").mkdir()
    (folder / "k.png.cache").symlink_to(tmp_path / "elsewhere")
    done = subprocess.run(
        [sys.executable, "-m", "pxvm", "recall", "boat house", "-n", folder / "k.png"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr.startswith("pxvm: ") and "a temporary cache serves" in done.stderr
    assert "\\x1b]0;pwned\\x07" in done.stderr and EVIL not in done.stderr + done.stdout
