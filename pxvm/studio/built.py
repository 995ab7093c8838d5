"""The built page: its files as they are served, and as they are written for other servers.

``studio/`` is its source; ``make studio`` builds it into ``pxvm/studio/page``, which is part of the
package.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from pxvm.core.errors import OutputError, PxvmError
from pxvm.core.saving import replacing

FOLDER = Path(__file__).with_name("page")
INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".wgsl": "text/wgsl; charset=utf-8",
    ".png": "image/png",
    ".pxi": "image/png",
    ".md": "text/markdown; charset=utf-8",
}
#: Tells the page that ``pxvm studio`` serves it.
SERVED = b'<meta name="pxvm-server" content="1" />'
#: What a folder that holds the page names its files and their hashes by.
LISTING = "pxvm-studio.json"
WORKER, REGISTER = "offline.js", "register.js"
_SCRIPT = f'<script type="module" src="./{REGISTER}"></script>'.encode()
_REGISTERING = f"""\
if ("serviceWorker" in navigator) await navigator.serviceWorker.register("./{WORKER}");
"""
_WORKER = """\
// Keeps the page, so that it opens without a network. Written by `pxvm studio --static`.
// A newer one waits until no page of this one is open, whose files nobody else may have any more.
const FILES = %s;
const NAME = `pxvm-studio ${self.registration.scope} %s`;
const address = (file) => new URL(file, self.registration.scope).href;
const names = new Map(Object.keys(FILES).map((file) => [address(file), file]));
names.set(self.registration.scope, "index.html");

self.addEventListener("install", (event) => event.waitUntil(keep()));
self.addEventListener("activate", (event) => event.waitUntil(tidy()));
self.addEventListener("fetch", (event) => {
  const file = names.get(event.request.url.split(/[?#]/)[0]);
  if (event.request.method === "GET" && file) event.respondWith(found(file, event.request));
});

async function keep() {
  const cache = await caches.open(NAME);
  const asked = ([file, integrity]) => new Request(file, { integrity, cache: "no-cache" });
  await cache.addAll(Object.entries(FILES).map(asked));
}

async function tidy() {
  const ours = `pxvm-studio ${self.registration.scope} `;
  for (const name of await caches.keys()) {
    if (name.startsWith(ours) && name !== NAME) await caches.delete(name);
  }
  await self.clients.claim();
}

async function found(file, request) {
  if (request.mode === "navigate") {
    // What stands there now, if anybody answers: a newer page, or one of somebody else.
    const answer = await fetch(request, { cache: "no-cache" }).catch(() => null);
    if (answer?.ok || answer?.type === "opaqueredirect") return answer;
  }
  const cache = await caches.open(NAME);
  return (await cache.match(address(file))) ?? fetch(request);
}
"""


def page() -> dict[str, bytes]:
    """The page's files by their names. Raises PxvmError where it was not built."""
    files = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in sorted(FOLDER.rglob("*"))
        if path.is_file()
    }
    if INDEX not in files:
        raise PxvmError(
            "the page is not built: `make studio` builds it, which needs Node; in a release it is"
            " part of the package"
        )
    return files


def served() -> dict[str, bytes]:
    """The page as ``pxvm studio`` serves it, which its first file says."""
    files = page()
    return {**files, INDEX: _into_head(files[INDEX], SERVED)}


def _into_head(document: bytes, line: bytes) -> bytes:
    assert document.count(b"</head>") == 1
    return document.replace(b"</head>", line + b"</head>")


def export(folder: Path) -> list[str]:
    """Write the page as plain files for any web server, with what keeps it for offline use.

    The names of the files. What an earlier export wrote into the folder is replaced, whatever else
    stands there stays.

    Raises OutputError, before anything is written, where the folder holds something and no page of
    ours, or what nobody exported, or somebody has changed since, in the place of one of the page's
    files.
    """
    files = page()
    files[INDEX] = _into_head(files[INDEX], _SCRIPT)
    files[REGISTER] = _REGISTERING.encode()
    hashes = {name: _integrity(data) for name, data in sorted(files.items())}
    version = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:16]
    files[WORKER] = (_WORKER % (json.dumps(hashes, indent=2), version)).encode()
    now = {name: _integrity(data) for name, data in sorted(files.items())}

    earlier = _earlier(folder)
    for name in now:
        if _found(folder, name) not in ("", now[name], *earlier.get(name, "").split()):
            raise OutputError(
                f"{folder / name} is in the way: no export has written it as it is now; move it"
            )
    gone = earlier.keys() - now.keys()
    # As long as it is under way either may stand there.
    either = {name: f"{earlier.get(name, '')} {now.get(name, '')}" for name in earlier | now}
    _write(folder, LISTING, _listing(either))
    # The first file last, so that it never names files that are not there.
    for name in sorted(files, key=lambda name: (name == INDEX, name)):
        _write(folder, name, files[name])
    for name in gone:
        if _found(folder, name) in earlier[name].split():
            (folder / name).unlink()
    _write(folder, LISTING, _listing(now))
    return sorted([*files, LISTING])


def _write(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        stream.write(data)


def _listing(hashes: Mapping[str, str]) -> bytes:
    return (json.dumps(hashes, indent=2, sort_keys=True) + "\n").encode()


def _found(folder: Path, name: str) -> str:
    """The hash of the file of this name, "" where nothing stands there, else what is no hash."""
    path = folder / name
    try:
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            return "elsewhere"
        return _integrity(path.read_bytes())
    except FileNotFoundError:
        return ""
    except (OSError, ValueError):
        return "no file"


def _earlier(folder: Path) -> dict[str, str]:
    """Names and hashes of what an earlier export wrote into a folder, which may be new or empty."""
    if not folder.exists():
        return {}
    if not folder.is_dir():
        raise OutputError(f"{folder}: a file stands there; name a folder")
    try:
        listing: Mapping[str, str] = json.loads((folder / LISTING).read_text(encoding="utf-8"))
        return {name: hashes for name, hashes in listing.items() if hashes.split()}
    except FileNotFoundError:
        if any(folder.iterdir()):
            raise OutputError(
                f"{folder} holds files, and no page of pxvm studio: name an empty or a new folder"
            ) from None
        return {}
    except (ValueError, AttributeError) as error:
        raise OutputError(f"{folder / LISTING} is damaged: {error}; remove the folder") from None


def _integrity(data: bytes) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(data).digest()).decode()}"
