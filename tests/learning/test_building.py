"""Answers while the search cache is made."""

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
