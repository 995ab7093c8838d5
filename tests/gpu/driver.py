"""A GPU for the tests: where the machine has none, a driver that lets the processor play one.

``python -m tests.gpu.driver`` installs Mesa's where Debian's package manager is there and may be
used, and says so; else the tests that need a GPU are skipped, with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from pxvm.core.errors import MissingPackageError
from pxvm.gpu.devices import adapters

PACKAGE = "mesa-vulkan-drivers"


def main() -> None:
    """Make sure of a GPU, if that is possible."""
    try:
        if found := adapters():
            print(f"GPU: {found[0].name} through {found[0].backend}")
            return
    except MissingPackageError as error:
        print(f"no GPU: {error}")
        return
    if shutil.which("apt-get") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        print("no GPU, and no package manager that may install one; its tests are skipped")
        return
    print(f"no GPU; installing {PACKAGE}")
    install = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {PACKAGE}"
    done = subprocess.run(install, shell=True, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"that failed, so its tests are skipped: {done.stderr.strip()[-300:]}")


if __name__ == "__main__":
    main()
