# SPDX-License-Identifier: Apache-2.0
"""API keys: made once, kept as hashes, refused unless right."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ringfence.serving.errors import KeyFileError, KeyMissingError, ScopeMissingError
from ringfence.serving.keys import Scope, create_key, list_keys, load_keys, revoke_key


def bearer(token: str) -> bytes:
    return f"Bearer {token}".encode()


def test_new_key_opens_what_its_scopes_say_and_nothing_else(tmp_path: Path) -> None:
    token = create_key(tmp_path / "keys.txt", "webshop", {Scope.DECIDE, Scope.LABEL})
    ring = load_keys(tmp_path / "keys.txt")
    assert ring.holder(bearer(token), Scope.DECIDE).name == "webshop"
    assert ring.holder(bearer(token), Scope.LABEL).name == "webshop"
    with pytest.raises(ScopeMissingError, match="'read'"):
        ring.holder(bearer(token), Scope.READ)


def test_admin_key_opens_everything(tmp_path: Path) -> None:
    token = create_key(tmp_path / "keys.txt", "root", {Scope.ADMIN})
    ring = load_keys(tmp_path / "keys.txt")
    assert all(ring.holder(bearer(token), scope).name == "root" for scope in Scope)


@pytest.mark.parametrize(
    "header", [None, b"", b"Bearer", b"Bearer ", b"Basic eDp5", b"Bearer rf_wrong", b"Bearer \xff\xfe"]
)
def test_anything_but_a_known_token_is_refused(tmp_path: Path, header: bytes | None) -> None:
    create_key(tmp_path / "keys.txt", "webshop", {Scope.DECIDE})
    with pytest.raises(KeyMissingError):
        load_keys(tmp_path / "keys.txt").holder(header, Scope.DECIDE)


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
    assert ring.holder(bearer(first), Scope.DECIDE).name == "one"
    assert ring.holder(bearer(second), Scope.DECIDE).name == "two"
    assert [key.name for key in list_keys(path)] == ["one", "two"]


def test_a_revoked_key_is_refused_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    gone, kept = create_key(path, "gone", {Scope.DECIDE}), create_key(path, "kept", {Scope.DECIDE})
    revoke_key(path, "gone")
    ring = load_keys(path)
    assert ring.holder(bearer(kept), Scope.DECIDE).name == "kept"
    with pytest.raises(KeyMissingError):
        ring.holder(bearer(gone), Scope.DECIDE)
    with pytest.raises(KeyFileError, match="no key named 'gone'"):
        revoke_key(path, "gone")


def test_keys_can_come_from_the_environment_alone() -> None:
    digest = hashlib.sha256(b"rf_secret").hexdigest()
    ring = load_keys(None, f"shop:decide+label:{digest}")
    assert ring.holder(b"bearer rf_secret", Scope.LABEL).name == "shop"
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
