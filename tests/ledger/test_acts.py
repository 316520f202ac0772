# SPDX-License-Identifier: Apache-2.0
"""Administrative acts: on record before they are done, and nothing about them can be changed unnoticed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ringfence.ledger.acts import Act, add_act, audit_acts, read_acts
from ringfence.ledger.errors import ActLogDamagedError

NOW_MS = 1_750_000_000_000  # 2025-06-15T15:06:40Z
STANDING = {"desk": ["desk:decide:2"], "shop": ["shop:read:3"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "acts.jsonl"
    add_act(path, "key created", "desk", ["desk:decide:1"], at_ms=NOW_MS, by="ann")
    add_act(path, "key created", "gone", ["gone:read:9"], at_ms=NOW_MS + 1, by="ann")
    add_act(path, "key rotated", "desk", ["desk:decide:2"], at_ms=NOW_MS + 2, by="bob")
    add_act(path, "key created", "shop", ["shop:read:3"], at_ms=NOW_MS + 3, by='Zoë "Z"')
    add_act(path, "key revoked", "gone", [], at_ms=NOW_MS + 4, by="bob")
    return path


def test_acts_are_read_as_they_were_put_on_record(path: Path) -> None:
    acts = read_acts(path)
    assert [(act.n, act.act, act.about, act.by) for act in acts] == [
        (1, "key created", "desk", "ann"),
        (2, "key created", "gone", "ann"),
        (3, "key rotated", "desk", "bob"),
        (4, "key created", "shop", 'Zoë "Z"'),
        (5, "key revoked", "gone", "bob"),
    ]
    assert acts[0] == Act(
        n=1, at="2025-06-15T15:06:40.000Z", by="ann", act="key created", about="desk", stands=("desk:decide:1",)
    )
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_untouched_record_holds_and_vouches_for_what_stands(path: Path) -> None:
    report = audit_acts(path, STANDING)
    assert (report.holds, report.n_acts) == (True, 5)
    assert report.chain in report.text


def test_no_acts_and_nothing_standing_hold(tmp_path: Path) -> None:
    assert audit_acts(tmp_path / "acts.jsonl", {}).holds


@pytest.mark.parametrize("line", range(5))
def test_a_changed_a_removed_and_a_moved_line_are_found(path: Path, line: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    changed = lines[line].replace(b"bob", b"eve").replace(b"ann", b"eve").replace(b"Zo", b"No")
    assert changed != lines[line]
    damages = [
        [*lines[:line], changed, *lines[line + 1 :]],
        [*lines[:line], *lines[line + 1 :], b""],
        [*lines[:line], lines[line], *lines[line:]],
    ]
    if line < 4:
        damages.append([*lines[:line], lines[line + 1], lines[line], *lines[line + 2 :]])
    for damage in damages:
        path.write_bytes(b"".join(damage))
        report = audit_acts(path, STANDING)
        assert not report.holds
        assert report.n_acts <= 5


def test_a_line_put_in_with_a_chain_value_of_its_own_is_found(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[4], *lines[3:]]))
    assert audit_acts(path, STANDING).n_acts == 2


def test_what_no_act_made_and_what_acts_left_otherwise_are_found(path: Path) -> None:
    put_in = audit_acts(path, {**STANDING, "eve": ["eve:admin:6"]})
    assert put_in.found == "'eve' is there, and no act on record made it"
    widened = audit_acts(path, {**STANDING, "shop": ["shop:admin:3"]})
    assert widened.found == "'shop' is not as the last act on it left it"
    assert audit_acts(path, {"desk": STANDING["desk"]}).found == widened.found
    assert not audit_acts(path, {**STANDING, "gone": ["gone:read:9"]}).holds


def test_nothing_is_added_to_a_damaged_record(path: Path) -> None:
    damaged = path.read_bytes().replace(b"ann", b"eve", 1)
    path.write_bytes(damaged)
    with pytest.raises(ActLogDamagedError, match=r"line 1 of acts\.jsonl"):
        add_act(path, "key revoked", "desk", [], at_ms=NOW_MS, by="bob")
    assert path.read_bytes() == damaged


def test_acts_at_the_same_time_are_all_on_record(tmp_path: Path) -> None:
    path = tmp_path / "acts.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: add_act(path, "key created", f"k{n}", [f"{n}"], at_ms=NOW_MS, by="ann"), range(24)))
    assert len(read_acts(path)) == 24
