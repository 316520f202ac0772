# SPDX-License-Identifier: Apache-2.0
"""Ids over time: letters are members, drawn with the id that the ring has at each tick."""

from __future__ import annotations

import numpy as np
import pytest

from ringfence.rings.lineage import Earlier, Lineage, Members, trace

AGE = {letter: 10 * i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}  # a is the oldest


class Rings:
    """Rings that live on from tick to tick."""

    def __init__(self) -> None:
        self.earlier: Earlier | None = None

    def tick(self, *groups: str) -> list[str]:
        """Name the groups: each id is the letter whose key it is."""
        lineage, members = traced(self.earlier, *groups)
        order = np.argsort(members.key)
        self.earlier = Earlier(
            key=members.key[order],
            ring=members.group[order],
            ring_id=lineage.ring_id,
            founded_ms=lineage.founded_ms,
        )
        return [chr(ring_id) if ring_id < 256 else "?" for ring_id in lineage.ring_id.tolist()]


def traced(earlier: Earlier | None, *groups: str, seed: int = 0) -> tuple[Lineage, Members]:
    rows = [(ord(letter), g, AGE[letter]) for g, letters in enumerate(groups) for letter in letters]
    rows = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    members = Members(
        key=np.array([key for key, _, _ in rows], np.uint64),
        group=np.array([group for _, group, _ in rows], np.int32),
        first_ms=np.array([first for _, _, first in rows], np.int64),
    )
    first_ms = np.array([min(AGE[letter] for letter in letters) for letters in groups], np.int64)
    return trace(members, len(groups), first_ms, earlier), members


def test_ring_keeps_its_id_as_it_grows_even_by_an_older_member() -> None:
    rings = Rings()
    assert rings.tick("cd") == ["c"]
    assert rings.tick("cde") == ["c"]
    assert rings.tick("acde") == ["c"]


def test_ring_keeps_its_id_when_its_founder_expires() -> None:
    rings = Rings()
    rings.tick("abc")
    assert rings.tick("bc") == ["a"]
    assert rings.tick("cxy") == ["a"]


def test_merged_rings_keep_the_older_id() -> None:
    rings = Rings()
    assert rings.tick("bcdef", "ay") == ["b", "a"]
    assert rings.tick("abcdefy") == ["a"]


def test_larger_part_of_a_split_keeps_the_id_and_the_other_is_new() -> None:
    #  tick 1   a b c d e        id a
    #  tick 2   a b | c d e      c d e are more: they stay a; the part of the founder is named after b
    rings = Rings()
    assert rings.tick("abcde") == ["a"]
    assert rings.tick("ab", "cde") == ["b", "a"]
    assert rings.tick("abcde") == ["a"]


def test_of_equal_parts_the_one_with_the_oldest_member_keeps_the_id() -> None:
    rings = Rings()
    rings.tick("abcd")
    assert rings.tick("bd", "ac") == ["b", "a"]


def test_founder_that_leaves_alone_cannot_take_the_name_with_it() -> None:
    rings = Rings()
    rings.tick("abcde")
    assert rings.tick("bcde", "a") == ["a", "?"]
    assert rings.tick("bcde", "a") == ["a", "?"]


def test_ring_is_as_old_as_the_oldest_event_it_ever_had() -> None:
    first, members = traced(None, "abc")
    order = np.argsort(members.key)
    earlier = Earlier(
        key=members.key[order], ring=members.group[order], ring_id=first.ring_id, founded_ms=first.founded_ms
    )
    second, _ = traced(earlier, "cz", "xy")
    assert second.founded_ms.tolist() == [AGE["a"], AGE["x"]]
    assert second.heir_of.tolist() == [0, -1]


@pytest.mark.parametrize("seed", range(20))
def test_ids_are_distinct_whatever_splits_and_merges_come(seed: int) -> None:
    g = np.random.default_rng(seed)
    rings = Rings()
    for _ in range(12):
        letters = "".join(g.permutation(list(AGE))[: g.integers(1, 26)])
        cuts = np.sort(g.integers(0, len(letters), 4)).tolist()
        groups = [letters[a:b] for a, b in zip([0, *cuts], [*cuts, len(letters)], strict=True) if a < b]
        rings.tick(*groups)
        assert rings.earlier is not None
        assert len(set(rings.earlier.ring_id.tolist())) == len(groups)


def test_order_of_members_changes_nothing() -> None:
    _, members = traced(None, "abcdef", "ghi")
    order = np.argsort(members.key)
    earlier = Earlier(
        key=members.key[order],
        ring=members.group[order],
        ring_id=np.array([97, 103], np.uint64),
        founded_ms=np.array([0, 60]),
    )
    found = [traced(earlier, "abg", "cdh", "efi", seed=seed)[0] for seed in range(5)]
    assert {lineage.ring_id.tobytes() for lineage in found} == {found[0].ring_id.tobytes()}
    assert found[0].heir_of.tolist() == [0, -1, -1] or 1 in found[0].heir_of.tolist()
