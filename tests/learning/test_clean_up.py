"""What is removed beside a network was made there: nothing of a user's, nothing behind a link."""

import shutil
import sqlite3

import pytest

from pxvm.learning import Network

MINE = ("thesis.txt", "photo.jpg", ".hidden")


@pytest.fixture
def home(tmp_path):
    path = tmp_path / "k.png"
    with Network.open(path) as network:
        network.append("capital of France", "Paris")
        network.append("capital of Spain", "Madrid")
    return path


def use(path):
    """Everything that clears a cache: searching, forgetting, compacting, another network."""
    with Network.open(path) as network:
        assert network.search("capital of France", embedder=None)[0].record.answer == "Paris"
        network.forget(network.append("x", "y"))
        network.compact()
        assert network.search("capital", embedder=None)


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("database", [None, b"", b"garbage " * 100, "another program's"])
def test_a_folder_with_other_files_stays_as_it_is(home, tmp_path, link, database):
    cache = tmp_path / "k.png.cache"
    folder = tmp_path / "documents" if link else cache
    folder.mkdir()
    for name in MINE:
        (folder / name).write_text("mine")
    if isinstance(database, bytes):
        (folder / "text.db").write_bytes(database)
    elif database:
        with sqlite3.connect(folder / "text.db") as connection:
            connection.execute("CREATE TABLE mine (x)")
    if link:
        cache.symlink_to(folder)
    use(home)
    assert all((folder / name).read_text() == "mine" for name in MINE)
    if link:
        assert cache.is_symlink() and (database is None or (folder / "text.db").exists())


def test_a_view_in_a_cache_is_not_asked(home):
    with Network.open(home) as network:
        network.search("capital", embedder=None)
    with sqlite3.connect(home.with_name("k.png.cache") / "text.db") as connection:
        connection.execute("ALTER TABLE known RENAME TO known2")
        connection.execute(
            "CREATE VIEW known AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
            "SELECT 'x' AS token, 0 AS generation, i AS sequence, x'00' AS id FROM n WHERE i < 0"
        )
    connection.close()
    use(home)


def test_a_picture_that_looks_like_a_page_by_name_only_stays(home):
    photo = home.with_name("k.p2.png")
    with Network.open(home) as network:
        network.compact()
        photo.write_bytes(b"\x89PNG\r\n\x1a\n a holiday photo")
        network.compact()
    assert photo.read_bytes().endswith(b"photo")


def test_a_disk_that_is_full_is_searched_with_a_cache_elsewhere(home, monkeypatch):
    shutil.rmtree(home.with_name("k.png.cache"), ignore_errors=True)
    connect = sqlite3.connect

    def full(path, **options):
        if str(path).startswith(str(home.parent)):
            raise sqlite3.OperationalError("database or disk is full")
        return connect(path, **options)

    monkeypatch.setattr(sqlite3, "connect", full)
    with Network.open(home) as network:
        assert network.search("capital of France", embedder=None)


def test_a_file_that_is_overwritten_in_place_is_read_anew(home):
    with Network.open(home) as network:
        old = home.read_bytes()
        for number in range(5):
            network.append(f"fact {number}", "told")
        assert network.search("fact 3", embedder=None) and len(network) == 7
        home.write_bytes(old)
        assert len(network) == 2
        assert not network.search("fact 3", embedder=None)
        network.append("after", "all")
        assert len(network) == 3 and network.verify().sound
