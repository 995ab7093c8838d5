"""What the builder refuses, in its own words."""

from __future__ import annotations

import pytest

from pxvm.core.errors import ProgramError
from pxvm.core.layout import NetworkBuilder
from pxvm.core.tensor import DType


@pytest.mark.parametrize("extents", [(), (3, 0), (0, 3), (2, -1), (1, 1, 1, 1, 1)])
def test_extents_that_no_tensor_has(extents):
    with pytest.raises(ProgramError, match="tensor 'x' has 1 to 4 extents, each 1 or more; found"):
        NetworkBuilder(64).tensor("x", DType.I32, extents)
