# SPDX-License-Identifier: Apache-2.0
"""API keys: made once, kept as hashes, refused unless right."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ringfence.serving.errors import KeyExpiredError, KeyFileError, KeyMissingError, ScopeMissingError
from ringfence.serving.key_ring import Scope
from ringfence.serving.keys import (
    KeySource,
    create_key,
    entry_of,
    list_keys,
    load_keys,
    parse_key,
    revoke_key,
    rotate_key,
)
from ringfence.serving.rates import Rate

NOW_MS = 1_750_000_000_000  # 2025-06-15T15:06:40Z
DAY_MS = 86_400_000


def bearer(token: str) -> bytes:
    return f"Bearer {token}".encode()


def test_new_key_opens_what_its_scopes_say_and_nothing_else(tmp_path: Path) -> None:
    token = create_key(tmp_path / "keys.txt", "webshop", {Scope.DECIDE, Scope.LABEL})
    ring = load_keys(tmp_path / "keys.txt")
    assert ring.holder(bearer(token), Scope.DECIDE, now_ms=NOW_MS).name == "webshop"
    assert ring.holder(bearer(token), Scope.LABEL, now_ms=NOW_MS).name == "webshop"
    with pytest.raises(ScopeMissingError, match="'read'"):
        ring.holder(bearer(token), Scope.READ, now_ms=NOW_MS)


def test_admin_key_opens_everything(tmp_path: Path) -> None:
    token = create_key(tmp_path / "keys.txt", "root", {Scope.ADMIN})
    ring = load_keys(tmp_path / "keys.txt")
    assert all(ring.holder(bearer(token), scope, now_ms=NOW_MS).name == "root" for scope in Scope)


@pytest.mark.parametrize(
    "header", [None, b"", b"Bearer", b"Bearer ", b"Basic eDp5", b"Bearer rf_wrong", b"Bearer \xff\xfe"]
)
def test_anything_but_a_known_token_is_refused(tmp_path: Path, header: bytes | None) -> None:
    create_key(tmp_path / "keys.txt", "webshop", {Scope.DECIDE})
    with pytest.raises(KeyMissingError):
        load_keys(tmp_path / "keys.txt").holder(header, Scope.DECIDE, now_ms=NOW_MS)


def test_the_file_holds_no_token_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    token = create_key(path, "webshop", {Scope.DECIDE})
    assert token.startswith("rf_")
    assert len(token) == 46
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_second_key_leaves_the_first_working(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    first, second = create_key(path, "one", {Scope.DECIDE}), create_key(path, "two", {Scope.DECIDE})
    ring = load_keys(path)
    assert ring.holder(bearer(first), Scope.DECIDE, now_ms=NOW_MS).name == "one"
    assert ring.holder(bearer(second), Scope.DECIDE, now_ms=NOW_MS).name == "two"
    assert [key.name for key in list_keys(path)] == ["one", "two"]


def test_a_revoked_key_is_refused_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    gone, kept = create_key(path, "gone", {Scope.DECIDE}), create_key(path, "kept", {Scope.DECIDE})
    revoke_key(path, "gone")
    ring = load_keys(path)
    assert ring.holder(bearer(kept), Scope.DECIDE, now_ms=NOW_MS).name == "kept"
    with pytest.raises(KeyMissingError):
        ring.holder(bearer(gone), Scope.DECIDE, now_ms=NOW_MS)
    with pytest.raises(KeyFileError, match="no key named 'gone'"):
        revoke_key(path, "gone")


def test_keys_can_come_from_the_environment_alone() -> None:
    digest = hashlib.sha256(b"rf_secret").hexdigest()
    ring = load_keys(None, f"shop:decide+label:{digest}")
    assert ring.holder(b"bearer rf_secret", Scope.LABEL, now_ms=NOW_MS).name == "shop"
    assert len(ring) == 1


def test_without_any_key_nothing_starts_and_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="ringfence keys create"):
        load_keys(tmp_path / "keys.txt", None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{}", "key name '{}'"),
        ("# a comment\n\nwebshop", "no scope for 'webshop'"),
        (f"a b:decide:{'0' * 64}", "line 1: the key name 'a b'"),
        (f"a:fly:{'0' * 64}", "unknown scope 'fly'"),
        (f"a::{'0' * 64}", "no scope"),
        ("a:decide:00", "no SHA-256"),
        (f"a:decide:{'0' * 64}:until=soon", "until=soon"),
        (f"a:decide:{'0' * 64}:until=2026-12-01T00:00:00", "no time zone"),
        (f"a:decide:{'0' * 64}:rate=0", "above 0"),
        (f"a:decide:{'0' * 64}:rate=nan", "above 0"),
        (f"a:decide:{'0' * 64}:rate=5,burst=0", "above 0"),
        (f"a:decide:{'0' * 64}:burst=5", "burst without a rate"),
        (f"a:decide:{'0' * 64}:rate=5,rate=6", "'rate=6'"),
        (f"a:decide:{'0' * 64}:owner=me", "'owner=me'"),
        ("\xff", "the key name"),
    ],
)
def test_a_damaged_key_file_is_refused_with_what_was_found(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=found):
        load_keys(path)


def test_a_key_file_that_everyone_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    create_key(path, "webshop", {Scope.DECIDE})
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_keys(path)


def test_names_are_given_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    create_key(path, "webshop", {Scope.DECIDE})
    with pytest.raises(KeyFileError, match="already"):
        create_key(path, "webshop", {Scope.READ})
    entry = f"webshop:read:{'0' * 64}"
    with pytest.raises(KeyFileError, match="two keys named"):
        load_keys(path, entry)


#  the old token      |---- valid ----|x refused from its end on
#  the new token              |------- valid -------
#                             rotation   the old one's end
def test_after_a_rotation_both_tokens_are_valid_until_the_stated_moment(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    old = create_key(path, "desk", {Scope.DECIDE}, rate=Rate(5, 10))
    end_ms = NOW_MS + DAY_MS
    new, ended = rotate_key(path, "desk", now_ms=NOW_MS, old_until_ms=end_ms)
    assert ended.until_ms == end_ms
    ring = load_keys(path)
    for token in (old, new):
        holder = ring.holder(bearer(token), Scope.DECIDE, now_ms=end_ms - 1)
        assert (holder.name, holder.rate) == ("desk", Rate(5, 10))
        with pytest.raises(ScopeMissingError):
            ring.holder(bearer(token), Scope.LABEL, now_ms=NOW_MS)
    assert ring.holder(bearer(new), Scope.DECIDE, now_ms=end_ms).name == "desk"
    with pytest.raises(KeyExpiredError, match="'desk' is valid no longer"):
        ring.holder(bearer(old), Scope.DECIDE, now_ms=end_ms)


def test_a_second_rotation_lengthens_nothing_and_drops_what_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    first = create_key(path, "desk", {Scope.DECIDE})
    second, _ = rotate_key(path, "desk", now_ms=NOW_MS, old_until_ms=NOW_MS + DAY_MS)
    rotate_key(path, "desk", now_ms=NOW_MS + 1000, old_until_ms=NOW_MS + 9 * DAY_MS)
    assert [key.until_ms for key in list_keys(path)] == [NOW_MS + DAY_MS, NOW_MS + 9 * DAY_MS, None]
    rotate_key(path, "desk", now_ms=NOW_MS + DAY_MS, old_until_ms=NOW_MS + DAY_MS)
    ring = load_keys(path)
    assert len(ring) == 3
    with pytest.raises(KeyMissingError):
        ring.holder(bearer(first), Scope.DECIDE, now_ms=NOW_MS)
    with pytest.raises(KeyExpiredError):
        ring.holder(bearer(second), Scope.DECIDE, now_ms=NOW_MS + DAY_MS)


def test_only_the_old_tokens_of_a_rotation_can_be_revoked(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    old, other = create_key(path, "desk", {Scope.DECIDE}), create_key(path, "other", {Scope.READ})
    new, _ = rotate_key(path, "desk", now_ms=NOW_MS, old_until_ms=NOW_MS + DAY_MS)
    assert revoke_key(path, "desk", only_old=True) == 1
    assert revoke_key(path, "desk", only_old=True) == 0
    ring = load_keys(path)
    assert ring.holder(bearer(new), Scope.DECIDE, now_ms=NOW_MS).name == "desk"
    assert ring.holder(bearer(other), Scope.READ, now_ms=NOW_MS).name == "other"
    with pytest.raises(KeyMissingError):
        ring.holder(bearer(old), Scope.DECIDE, now_ms=NOW_MS)


def test_a_key_that_is_not_there_or_has_ended_cannot_be_rotated(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    create_key(path, "brief", {Scope.DECIDE}, until_ms=NOW_MS)
    with pytest.raises(KeyFileError, match="name one of its keys: brief"):
        rotate_key(path, "desk", now_ms=NOW_MS, old_until_ms=NOW_MS)
    with pytest.raises(KeyFileError, match="valid still"):
        rotate_key(path, "brief", now_ms=NOW_MS, old_until_ms=NOW_MS + DAY_MS)


@pytest.mark.parametrize("more", ["", ":until=2026-12-01T00:00:00Z", ":rate=0.5,burst=3", ":rate=1234567,burst=9"])
def test_an_entry_is_written_as_it_was_read(more: str) -> None:
    entry = f"desk:decide+label:{'ab' * 32}{more}"
    assert entry_of(parse_key(entry, "here")) == entry


def test_acts_are_told_before_the_file_changes_and_a_refusal_leaves_it_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    told: list[tuple[str, str, int]] = []
    create_key(path, "desk", {Scope.DECIDE}, record=lambda act, name, entries: told.append((act, name, len(entries))))
    rotate_key(
        path,
        "desk",
        now_ms=NOW_MS,
        old_until_ms=NOW_MS + DAY_MS,
        record=lambda act, name, entries: told.append((act, name, len(entries))),
    )
    before = path.read_text()

    def refuse(act: str, name: str, entries: list[str]) -> None:
        assert path.read_text() == before
        told.append((act, name, len(entries)))
        raise OSError("no room on the disk")

    with pytest.raises(OSError, match="no room"):
        revoke_key(path, "desk", record=refuse)
    assert path.read_text() == before
    assert told == [("key created", "desk", 1), ("key rotated", "desk", 2), ("key revoked", "desk", 0)]


def test_keys_made_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: create_key(path, f"key-{number}", {Scope.READ}), range(24)))
    assert sorted(key.name for key in list_keys(path)) == sorted(f"key-{number}" for number in range(24))


def test_a_changed_file_is_read_again_and_a_damaged_one_leaves_the_keys_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    create_key(path, "desk", {Scope.DECIDE})
    source = KeySource(path)
    assert not source.look()
    create_key(path, "shop", {Scope.DECIDE})
    assert source.look()
    assert source.ring.names == {"desk", "shop"}
    path.write_text("nonsense")
    with pytest.raises(KeyFileError):
        source.look()
    assert not source.look()
    assert source.ring.names == {"desk", "shop"}


def test_revoking_the_last_key_closes_a_running_service_to_everybody(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    token = create_key(path, "desk", {Scope.DECIDE})
    source = KeySource(path)
    revoke_key(path, "desk")
    assert source.look()
    with pytest.raises(KeyMissingError):
        source.ring.holder(bearer(token), Scope.DECIDE, now_ms=NOW_MS)
