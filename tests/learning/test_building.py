"""Answers while the search cache is made."""

import subprocess
import sys

import numpy as np
from filelock import FileLock

from pxvm.learning import Draft, Network
from pxvm.learning.search import building
from pxvm.learning.search.building import ask_soon, finish
from pxvm.learning.search.cache import LOCK, cache_folder
from pxvm.learning.search.search import search


def answers(network, **options):
    return sorted(h.record.answer for h in search(network, "boats", 99, embedder=None, **options))


def test_the_newest_records_answer_until_all_are_indexed(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "RECENT", 4)
    monkeypatch.setattr(building, "PATIENCE", 0.0)
    path = tmp_path / "k.png"
    with Network.open(path) as network:
        drafts = [Draft("", f"boats {number}") for number in range(9)]
        network.append_many(drafts)
        network.forget(network.record(8).id)
        cache_folder(path).mkdir()
        left = []
        with FileLock(cache_folder(path) / LOCK):  # so that it takes long
            assert answers(network, unsearched=left) == ["boats 6", "boats 8"]
            network.append("", "boats again")
            newest = ["boats 6", "boats 8", "boats again"]
            assert answers(network, unsearched=left) == newest
        assert left == [7, 8]
        finish(network)
        left.clear()
        whole = sorted({*(draft.answer for draft in drafts), "boats again"} - {"boats 7"})
        assert answers(network, unsearched=left) == answers(network) == whole
        assert left == [0]


def test_where_little_is_missing_nothing_is_left_out(tmp_path):
    with Network.open(tmp_path / "k.png") as network:
        network.append("", "boats")
        assert ask_soon(network, lambda cache: cache.folder) == (cache_folder(network.path), 0)
        finish(network)


def test_a_program_that_ends_meanwhile_says_nothing_and_leaves_what_is_done(tmp_path):
    """The thread that indexes is cut off; the next program goes on where it was."""
    path = tmp_path / "k.png"
    with Network.open(path, draw=lambda record: np.full((1, 128), 255, np.uint8)) as network:
        network.append_many(Draft("", f"boats {number}") for number in range(600))
    done = subprocess.run(
        [sys.executable, "-c", ENDING, str(path)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    left = int(done.stdout)
    assert left > 500
    with Network.open(path, read_only=True) as network:
        assert building._behind(network) < 601
        assert len(search(network, "boats", 999, embedder=None)) == 600


#: Ends when the first records are indexed, long before all are.
ENDING = """
import sys
from pxvm.learning import Network
from pxvm.learning.search import building, cache
from pxvm.learning.search.search import search
building.RECENT, building.PATIENCE, cache.MANY, cache.STEP, cache.STEPS = 20, 0.0, 20, 20, 1
network, left = Network.open(sys.argv[1], read_only=True), []
search(network, "boats", embedder=None, unsearched=left)
while building._behind(network) == 601:
    pass
print(left[0])
"""
