"""A GPU for the tests: where the machine has none, a driver that lets the processor play one.

``python -m tests.gpu.driver`` installs Mesa's where Debian's package manager is there and may be
used, and says so; else the tests that need a GPU are skipped, with the reason. In continuous
integration (``PXVM_FETCH``, which lets tests fetch) it installs a second one, SwiftShader, which
Debian ships with Chromium and which Dawn takes as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from pxvm.core.errors import MissingPackageError
from pxvm.gpu.devices import adapters

MESA, CHROMIUM = "mesa-vulkan-drivers", "chromium"
SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")


def main() -> None:
    """Make sure of a GPU, if that is possible."""
    try:
        found = adapters()
    except MissingPackageError as error:
        print(f"no GPU: {error}")
        return
    wanted = [] if found else [MESA]
    if found:
        print(f"GPU: {found[0].name} through {found[0].backend}")
    if os.environ.get("PXVM_FETCH") and not SWIFTSHADER.exists():
        wanted.append(CHROMIUM)
    if not wanted:
        return
    if shutil.which("apt-get") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        print(f"no package manager that may install {' and '.join(wanted)}: tests are skipped")
        return
    print(f"installing {' and '.join(wanted)}")
    get = "apt-get install -y -qq --no-install-recommends"
    install = f"apt-get update -qq && {get} {' '.join(wanted)}"
    done = subprocess.run(install, shell=True, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"that failed, so tests are skipped: {done.stderr.strip()[-300:]}")


if __name__ == "__main__":
    main()
