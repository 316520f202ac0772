# SPDX-License-Identifier: Apache-2.0
"""What compiled code is handed as an address must fit where it is written."""

from __future__ import annotations

import numpy as np
import pytest

from ringfence.engine._kernels_call import BoundValue


@pytest.mark.compiled
def test_a_value_that_does_not_fit_its_buffer_is_refused_and_not_written_past_its_end() -> None:
    value = np.zeros(3), np.ones(2, np.uint8)
    assert BoundValue(value, 256).address != 0
    with pytest.raises(TypeError, match="a tuple of 2 takes more than 64 bytes"):
        BoundValue(value, 64)
