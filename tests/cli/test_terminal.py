# SPDX-License-Identifier: Apache-2.0
"""A word where nothing moves: the first run on a machine compiles."""

from __future__ import annotations

from threading import Event

from ringfence.cli.terminal import patience


def test_word_is_said_once_where_nothing_moves() -> None:
    said, heard = [], Event()

    def say(text: str) -> None:
        said.append(text)
        heard.set()

    with patience(say, quiet_s=0.01) as moved:
        moved(0, 0)  # a stage that begins has not moved
        assert heard.wait(10.0)
        moved(1, 2)
    assert len(said) == 1
    assert "the first run on a machine compiles" in said[0]


def test_nothing_is_said_once_something_moved_or_is_over() -> None:
    said: list[str] = []
    with patience(said.append, quiet_s=0.2) as moved:
        moved(1, 2)
        assert not Event().wait(0.4)
    with patience(said.append, quiet_s=0.2):
        pass
    assert not Event().wait(0.4)
    assert said == []
