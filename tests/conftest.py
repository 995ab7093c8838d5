"""Lets every test import its neighbours as ``tests.…``, however pytest was started."""

import os
import signal
import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

# Tests run side by side, one for each processor; with several threads in each, which wait spinning,
# a small product of NumPy takes four times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture
def interruptible():
    """Ctrl-C and a closed terminal as in the foreground, here and in processes started.

    A job in the background ignores the one, ``nohup`` the other.
    """
    wanted = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        wanted[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
