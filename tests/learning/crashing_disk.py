"""A disk in memory that remembers every operation, so that a test can crash it anywhere.

What a crash leaves of a file: everything up to its last sync; of what came later any part. Sectors
of 512 bytes arrive in any order or not at all; one behind the synced end may also hold zeros or
garbage, and a single write may be cut at any byte. A harsh disk may spoil a whole sector that it
was just writing, with what stood in it before. Names change in the order of the operations, and
are certain once the directory was synced.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512


@dataclass(eq=False)
class Node:
    """A file's bytes, as a process sees them now."""

    data: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True)
class Operation:
    """One thing that was done; which fields count depends on ``what``."""

    what: str
    node: Node | None = None
    position: int = 0
    data: bytes = b""
    name: str = ""
    other: str = ""


class DiskHandle:
    def __init__(self, disk: Disk, node: Node) -> None:
        self._disk, self._node = disk, node

    def read(self, position: int, size: int) -> bytes:
        return bytes(self._node.data[position : position + size])

    def write(self, position: int, data: bytes) -> None:
        data = bytes(data)
        self._disk.log(Operation("write", self._node, position, data))
        put(self._node.data, position, data)

    def sync(self) -> None:
        self._disk.log(Operation("sync", self._node))

    def size(self) -> int:
        return len(self._node.data)

    def truncate(self, size: int) -> None:
        self._disk.log(Operation("truncate", self._node, size))
        del self._node.data[size:]

    def identity(self) -> tuple[int, int]:
        return 0, id(self._node)

    def close(self) -> None:
        pass


def put(data: bytearray, position: int, new: bytes) -> None:
    """Writes as a file does: a hole before ``position`` is zeros."""
    if len(data) < position:
        data.extend(bytes(position - len(data)))
    data[position : position + len(new)] = new


class NoLock:
    """There is only one process on this disk."""

    def acquire(self, timeout: float) -> None:
        pass

    def release(self) -> None:
        pass


class Disk:
    """The interface of `pxvm.learning.store.files.Files`, over memory."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.names_: dict[str, Node] = {}
        self.operations: list[Operation] = []
        self._start = dict(files or {})
        for name, data in self._start.items():
            self.names_[name] = Node(bytearray(data))
        self._first = dict(self.names_)
        self.fail_after: int | None = None

    def log(self, operation: Operation) -> None:
        if self.fail_after is not None and operation.what == "write":
            self.fail_after -= len(operation.data)
            if self.fail_after < 0:
                raise OSError(28, "No space left on device")
        self.operations.append(operation)

    def image(self) -> dict[str, bytes]:
        """What is on the disk when nothing crashes."""
        return {name: bytes(node.data) for name, node in self.names_.items()}

    # -- Files -----------------------------------------------------------------------------------

    def open(self, path: Path, *, writable: bool = False, create: bool = False) -> DiskHandle:
        name = str(path)
        if create:
            node = Node()
            self.log(Operation("create", node, name=name))
            self.names_[name] = node
        if name not in self.names_:
            raise FileNotFoundError(2, "No such file", name)
        return DiskHandle(self, self.names_[name])

    def exists(self, path: Path) -> bool:
        return str(path) in self.names_ or path.suffix == ""

    def size(self, path: Path) -> int:
        return len(self._node(path).data)

    def identity(self, path: Path) -> tuple[int, int]:
        return 0, id(self._node(path))

    def _node(self, path: Path) -> Node:
        if str(path) not in self.names_:
            raise FileNotFoundError(2, "No such file", str(path))
        return self.names_[str(path)]

    def names(self, directory: Path) -> list[str]:
        return [Path(name).name for name in self.names_]

    def replace(self, source: Path, target: Path) -> None:
        node = self._node(source)
        self.log(Operation("replace", node, name=str(source), other=str(target)))
        self.names_[str(target)] = self.names_.pop(str(source))

    def remove(self, path: Path) -> None:
        if str(path) in self.names_:
            self.log(Operation("remove", name=str(path)))
            del self.names_[str(path)]

    def settle(self, directory: Path) -> None:
        self.log(Operation("settle"))

    def lock(self, path: Path) -> NoLock:
        return NoLock()

    # -- crashing --------------------------------------------------------------------------------

    def killed(self, count: int, cut: int | None = None) -> dict[str, bytes]:
        """The process dies after ``count`` operations, or ``cut`` bytes into the next write."""
        done = self.operations[:count]
        if cut is not None:
            following = self.operations[count]
            part = following.data[:cut]
            done = [*done, Operation("write", following.node, following.position, part)]
        return self._apply(done, lambda operation, data, synced: _do(operation, data), None)

    def lost_power(
        self, count: int, chance: random.Random, harsh: bool = False
    ) -> dict[str, bytes]:
        """Power fails after ``count`` operations: what was not synced arrives in part."""
        arrives = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        spoils = chance.choice((0.0, 0.0, 0.3))

        def partly(operation: Operation, data: bytearray, synced: int) -> None:
            if operation.what == "truncate":
                if chance.random() < arrives:
                    _do(operation, data)
                return
            begin, end = operation.position, operation.position + len(operation.data)
            for sector in range(begin // SECTOR * SECTOR, end, SECTOR):
                start, stop = max(begin, sector), min(end, sector + SECTOR)
                part = operation.data[start - begin : stop - begin]
                if chance.random() < arrives:
                    put(data, start, part)
                elif harsh and start < synced and chance.random() < 0.5:
                    put(data, sector, chance.randbytes(min(SECTOR, len(data) - sector)))
                elif start >= synced and chance.random() < spoils:
                    put(data, start, chance.choice((bytes(len(part)), chance.randbytes(len(part)))))

        return self._apply(self.operations[:count], partly, chance)

    def _apply(
        self,
        done: list[Operation],
        late: Callable[[Operation, bytearray, int], None],
        chance: random.Random | None,
    ) -> dict[str, bytes]:
        """The files after ``done``; ``late`` applies what came after a file's last sync."""
        synced_at = {id(o.node): i for i, o in enumerate(done) if o.what == "sync"}
        settled = max((i for i, o in enumerate(done) if o.what == "settle"), default=-1)
        naming = [i for i, o in enumerate(done) if o.what in ("create", "replace", "remove")]
        open_names = [i for i in naming if i > settled]
        if chance is not None and open_names:
            open_names = open_names[: chance.randrange(len(open_names) + 1)]
        certain = {i for i in naming if i <= settled} | set(open_names)
        contents: dict[int, bytearray] = {
            id(node): bytearray(self._start[name]) for name, node in self._first.items()
        }
        durable: dict[int, int] = {key: len(data) for key, data in contents.items()}
        names = {name: id(node) for name, node in self._first.items()}
        for i, operation in enumerate(done):
            key = id(operation.node)
            if operation.what in ("write", "truncate"):
                data = contents.setdefault(key, bytearray())
                if i <= synced_at.get(key, -1):
                    _do(operation, data)
                    durable[key] = len(data)
                else:
                    late(operation, data, durable.get(key, 0))
            elif i in certain:
                if operation.what == "create":
                    names[operation.name] = key
                elif operation.what == "replace":
                    names.pop(operation.name, None)
                    names[operation.other] = key
                else:
                    names.pop(operation.name, None)
        return {name: bytes(contents.get(key, b"")) for name, key in names.items()}


def _do(operation: Operation, data: bytearray) -> None:
    if operation.what == "truncate":
        del data[operation.position :]
    else:
        put(data, operation.position, operation.data)
