"""What the page knows of the machine is what Python's tables say now."""

from __future__ import annotations

import pytest

from pxvm.studio import tables


@pytest.mark.parametrize("path", tables.contents(), ids=lambda path: path.name)
def test_the_page_knows_the_same_tables(path):
    if not path.parent.is_dir():
        pytest.skip("the studio's sources are not here")
    assert path.read_text(encoding="utf-8") == tables.contents()[path], (
        "run python -m pxvm.studio.tables and build the studio again"
    )
