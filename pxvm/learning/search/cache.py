"""What stands beside a network so that it is searched fast: a text index and pictures of vectors.

The folder ``<network>.cache`` holds ``text.db`` (SQLite) and ``vectors-*.pxi``. It may be deleted
at any moment, by anyone: the network alone is the truth. It is believed only when the network still
begins with what the cache was made from; then only new records are taken in. Where the folder
cannot be written, is a link, or holds anything that is not a cache's, it is left alone, and a
temporary one serves this process.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import shutil
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from errno import EEXIST
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary, finalize

from filelock import FileLock, Timeout

from pxvm.core.errors import FormatError, ProgramError
from pxvm.learning.errors import NetworkError, UnknownRecordError
from pxvm.learning.search import pictures, textindex
from pxvm.learning.search.pictures import Embedding, Pictures
from pxvm.learning.search.textindex import Entry, TextIndex
from pxvm.learning.search.vectors import Vectors
from pxvm.learning.store.pages import CACHE_FILE
from pxvm.terminal import progress

if TYPE_CHECKING:
    from pxvm.learning.store.store import State, Store

Answer = TypeVar("Answer")
Made = TypeVar("Made")
_LOG = logging.getLogger(__name__)

#: Of the tables, and of what runs the pictures: another one is built anew.
VERSION = 5
#: Records taken in at once, and so many times between two commits: what a program that ends has
#: taken in, the next one need not.
STEP, STEPS = 2_048, 2
LOCK_SECONDS = 600
#: Memory for the pages of the database, so that little is written twice while much is taken in.
PAGES_KIB = 65_536
DATABASE, LOCK = "text.db", "lock"
#: From so many new records on, progress is shown.
MANY = 5_000

_SCHEMA = f"""
CREATE TABLE known (token TEXT, generation INTEGER, sequence INTEGER, id BLOB);
CREATE TABLE files (source TEXT PRIMARY KEY, stamp TEXT, chunks INTEGER) WITHOUT ROWID;
{textindex.SCHEMA}{pictures.SCHEMA}"""


def cache_folder(path: Path) -> Path:
    """Where the cache of the network at ``path`` stands."""
    return path.with_name(path.name + ".cache")


def ask(network: Store, question: Callable[[Cache], Answer], cache: Cache | None = None) -> Answer:
    """What ``question`` answers when it is asked of the network's cache, or this one, up to date.

    Where files of the cache are damaged, or vanish meanwhile, it is read anew, then rebuilt, and
    asked again. Raises NetworkError when the cache cannot be written, and what ``question`` raises.
    """
    cache = cache or _CACHES.get(network) or _CACHES.setdefault(network, Cache(network.path))
    with cache.turn:
        for mend in (None, cache.close, cache.remove, cache.move):
            try:
                if mend is not None:
                    mend()
                cache.refresh(network)
                with cache.snapshot():
                    return question(cache)
            except (sqlite3.DatabaseError, FormatError, ProgramError, OSError) as error:
                problem = error
        raise NetworkError(
            f"{cache.folder}: the search cache cannot be written or read ({problem}); make room, or"
            " delete the folder"
        ) from None


def is_current(network: Store) -> bool:
    """Would ``ask`` answer at once?"""
    cache = _CACHES.get(network)
    return cache is not None and cache.is_current(network)


class Cache:
    """A cache folder. ``turn`` is held by whoever uses ``connection`` in several steps."""

    def __init__(self, path: Path, *, is_quiet: bool = False) -> None:
        self.folder, self.is_quiet = cache_folder(path), is_quiet
        self.turn = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pictures: Pictures | None = None
        self._inode = 0
        self._token = ""
        self._is_temporary = False

    @property
    def connection(self) -> sqlite3.Connection:
        """The database."""
        assert self._connection is not None
        return self._connection

    @property
    def pictures(self) -> Pictures:
        """The vectors."""
        assert self._pictures is not None
        return self._pictures

    def close(self) -> None:
        """Close the files; the cache opens them again when it is used."""
        with self.turn:
            if self._connection is not None:
                self._connection.close()
            self._connection, self._pictures, self._token = None, None, ""

    __del__ = close

    # -- up to date ------------------------------------------------------------------------------

    def refresh(self, network: Store) -> None:
        """Take in what the network has and the cache has not; rebuild what is not its own."""
        if self.is_current(network):
            return
        state = network.state
        self._make_folder()
        try:
            with FileLock(self.folder / LOCK, timeout=LOCK_SECONDS):
                self._catch_up(network, state)
        except Timeout:
            raise NetworkError(
                f"{self.folder}: another process has been indexing for more than {LOCK_SECONDS} s:"
                " try again when it is done"
            ) from None
        self._token = _token(state)

    def is_current(self, network: Store) -> bool:
        """Is all taken in that the network has?"""
        return self._token == _token(network.state) and self._is_there()

    def _catch_up(self, network: Store, state: State) -> None:
        if not self._is_there():
            self.close()
        if self._connection is None:
            self._connect()
        known = self._known(network, state)
        if known is None:
            self.remove()
            self._connect()
            known = -1
        if self._stored_token() != _token(state):
            self._take(network, known, state)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside is of one moment, whatever other processes take in."""
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("COMMIT")

    def _is_there(self) -> bool:
        try:
            return self._database().stat().st_ino == self._inode
        except OSError:
            return False

    def _database(self) -> Path:
        return self.folder / DATABASE

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
            if strange := self._strange():
                raise FileExistsError(EEXIST, f"holds {strange}, which is no cache's")
            with (self.folder / LOCK).open("a"):
                pass
        except OSError as error:
            if self._is_temporary:
                raise
            _LOG.warning(
                "%s cannot be used (%s): a temporary cache serves", self.folder, error.strerror
            )
            self.move()

    def _strange(self) -> str:
        """What stands in the folder's way of being a cache: a link, or a file of another name."""
        if self.folder.is_symlink():
            return "nothing of its own, being a link"
        for path in self.folder.iterdir():
            if not (CACHE_FILE.fullmatch(path.name) and path.is_file() and not path.is_symlink()):
                return repr(path.name)
        database = self._database()
        if database.exists():
            with database.open("rb") as stream:
                if stream.read(16) not in (b"", b"SQLite format 3\0"):
                    return f"{DATABASE}, which is no database"
        return ""

    def move(self) -> None:
        """Goes on in a temporary folder; the one beside the network stays as it is."""
        self.close()
        if not self._is_temporary:
            self.folder, self._is_temporary = Path(tempfile.mkdtemp(prefix="pxvm-cache-")), True
            finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def _connect(self) -> None:
        connection = sqlite3.connect(
            self._database(), timeout=30, isolation_level=None, check_same_thread=False
        )
        self._connection = connection
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{PAGES_KIB}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION or _tables(connection) != _own_tables():
            raise FormatError(f"{self._database()}: not a cache of version {VERSION}")
        self._pictures = Pictures(connection, self.folder)
        self._inode = self._database().stat().st_ino

    def remove(self) -> None:
        """Delete the cache's own files; its lock stays."""
        self.close()
        for path in self.folder.iterdir():
            if CACHE_FILE.fullmatch(path.name) and path.name != LOCK:
                path.unlink(missing_ok=True)

    def _stored_token(self) -> str:
        row = self.connection.execute("SELECT token FROM known").fetchone()
        return row[0] if row else ""

    def _known(self, network: Store, state: State) -> int | None:
        """The last sequence number taken in, -1 for none, None where the network is another one."""
        row = self.connection.execute("SELECT * FROM known").fetchone()
        if row is None:
            return -1
        token, generation, sequence, identity = row
        if generation != state.generation or sequence > state.sequence:
            return None
        if sequence == state.sequence and token and token != _token(state):
            return None
        try:
            same = network.record_at(sequence).id == identity.hex()
        except UnknownRecordError:
            return None
        return sequence if same else None

    # -- taking in -------------------------------------------------------------------------------

    def _take(self, network: Store, known: int, state: State) -> None:
        """Take in all records after number ``known``, up to the state's last."""
        index, new, done = TextIndex(self.connection), state.sequence - known, 0
        records = takewhile(
            lambda record: record.sequence <= state.sequence, network.records_from(known + 1)
        )
        steps = batched(map(Entry.of, records), STEP)
        steps = ahead(steps) if new >= MANY else steps
        shown = new >= MANY and not self.is_quiet and sys.stderr.isatty()
        with progress("indexing", shown) as update:
            for first in steps:
                with self._transaction():
                    for step in chain([first], islice(steps, STEPS - 1)):
                        index.take(network, step)
                        self.pictures.take(entry.record for entry in step)
                        done += len(step)
                        last = step[-1].record
                        update(done, new)
                    token = _token(state) if last.sequence == state.sequence else ""
                    self.connection.execute("DELETE FROM known")
                    self.connection.execute(
                        "INSERT INTO known VALUES (?, ?, ?, ?)",
                        (token, state.generation, last.sequence, bytes.fromhex(last.id)),
                    )
                    if new < MANY:
                        index.merge(new)
            for _ in index.merge_all() if new >= MANY else ():
                update(done, new)
        self.pictures.delete_unused()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def begin_with_newest(self, network: Store, count: int) -> None:
        """Take in, of a network of which nothing is known, the newest records alone."""
        self._connect()
        self._take(network, network.state.sequence - count, network.state)

    # -- reading ---------------------------------------------------------------------------------

    def embeddings(self) -> list[Embedding]:
        """The kinds of vectors there are."""
        return self.pictures.kinds()

    def vectors(self, key: Embedding, device: str = "auto") -> list[Vectors]:
        """The pictures of one kind of vector, ready to be scored."""
        return self.pictures.of(key, device)


def ahead(made: Iterator[Made]) -> Iterator[Made]:
    """The same, each made by another thread while the one before is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
        coming = pool.submit(next, made, None)
        while (one := coming.result()) is not None:
            coming = pool.submit(next, made, None)
            yield one


def batched(items: Iterator[Made], size: int) -> Iterator[list[Made]]:
    """Lists of so many, the last of fewer."""
    return iter(lambda: list(islice(items, size)), [])


def _token(state: State) -> str:
    return json.dumps(list(vars(state).values()))


def _tables(connection: sqlite3.Connection) -> list[tuple[str, str, str | None]]:
    """All that a database is made of; a view or a trigger would show here."""
    return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()


@functools.cache
def _own_tables() -> list[tuple[str, str, str | None]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_SCHEMA)
        return _tables(connection)


_CACHES: WeakKeyDictionary[Store, Cache] = WeakKeyDictionary()
