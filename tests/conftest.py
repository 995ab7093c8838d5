"""Lets every test import its neighbours as ``tests.…``, however pytest was started."""

import signal
import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)


@pytest.fixture
def interruptible():
    """Ctrl-C as in a terminal, here and in processes started: a background job ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
