# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from ringfence.cli.exits import UsageError
from ringfence.cli.options import size_option
from ringfence.cli.phases import Phases, peak_bytes, phase_table


def test_phases_have_the_time_between_stages_and_pass_progress_on() -> None:
    told: list[tuple[str, int, int]] = []
    phases = Phases("reading", lambda *what: told.append(what))
    time.sleep(0.05)
    phases("fitting", 0, 2)
    phases("fitting", 1, 2)
    phases("reading", 1, 1)
    time.sleep(0.05)
    phases("fitting", 2, 2)
    found = phases.end()
    assert told == [("fitting", 0, 2), ("fitting", 1, 2), ("reading", 1, 1), ("fitting", 2, 2)]
    assert [phase.name for phase in found] == ["reading", "fitting"]
    assert found[0].seconds >= 0.1 > found[1].seconds
    assert "reading" in phase_table(found)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak of a process never falls")
def test_memory_of_a_phase_is_its_own_peak() -> None:
    phases = Phases("small", lambda *what: None)
    phases("large", 0, 0)
    block = np.ones(1 << 25)  # 256 MiB
    del block
    phases("small again", 0, 0)
    small, large, again = phases.end()
    assert large.peak_bytes > small.peak_bytes + (1 << 27)
    assert again.peak_bytes < large.peak_bytes - (1 << 27)
    assert peak_bytes() > 0


@pytest.mark.parametrize(("text", "n_bytes"), [("0", 0), ("500MB", 500_000_000), ("4 GiB", 4 << 30), ("1GB", 10**9)])
def test_sizes_are_read(text: str, n_bytes: int) -> None:
    assert size_option(text, "--row-cache") == n_bytes


@pytest.mark.parametrize("text", ["", "4", "4 TB", "-1GB", "4gb"])
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--row-cache"):
        size_option(text, "--row-cache")
