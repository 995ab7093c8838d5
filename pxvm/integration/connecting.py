"""How a back end is found.

``auto`` takes the server at the given address, LM Studio's unless another is named, and the
embedded model where none answers there.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from pxvm.integration.backends import (
    ADDRESSES,
    ANY_MODEL,
    AUTO,
    EMBEDDED,
    EMBEDDED_MODEL,
    LM_STUDIO,
    NAMES,
    Backend,
    completed,
    kind_of,
)
from pxvm.integration.errors import BackendError

Tell = Callable[[str], None]


def connect(
    name: str = AUTO,
    url: str | None = None,
    model: str | None = None,
    tell: Tell = lambda line: None,
    device: str = "auto",
) -> Backend:
    """The back end of a name; an address alone is enough for any server.

    Args:
        model: as the back end calls it; None, or "local-model", takes the one that is loaded. For
            ``embedded`` a ``.pxi`` or a name of ``pxvm models list``.
        device: executor of the embedded model.
        tell: called with a line for the user when another back end is taken than was expected.

    Raises BackendError when it cannot be reached, or is not known.
    """
    if name not in NAMES:
        raise BackendError(f"no back end is called {name!r}; there are {', '.join(NAMES)}")
    if name == EMBEDDED:
        return embedded(model, device)
    from pxvm.integration.remote import Remote

    address = ADDRESSES.get(name, ADDRESSES["lm-studio"])
    where = completed(url or address.url)
    kind = name if name != AUTO else kind_of(where)
    remote = Remote(kind, where, model, os.environ.get(address.key, ""))
    if name != AUTO:
        return remote
    try:
        _ = remote.model
        return remote
    except BackendError as error:
        remote.close()
        if url is not None and where != LM_STUDIO:  # an address that was chosen is meant
            raise
        tell(f"{error}; the embedded model {EMBEDDED_MODEL} answers instead")
        return embedded(None, device)


def embedded(model: str | None, device: str) -> Backend:
    """A model in this process; one that is known by name is fetched when it is not here."""
    from pxvm.integration.embedded import Embedded

    return Embedded(EMBEDDED_MODEL if model in (None, ANY_MODEL) else str(model), device)
