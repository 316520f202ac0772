# SPDX-License-Identifier: Apache-2.0
"""Where releases may be mirrored to: addresses without a secret in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfence.rollout.errors import TrackingPlaceError
from ringfence.rollout.tracking_place import tracking_place


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://tracking.example/a/b/", "https://tracking.example/a/b"),
        ("HTTPS://[::1]:5000", "https://[::1]:5000"),
    ],
)
def test_server_is_taken_as_it_is_written(text: str, uri: str) -> None:
    assert tracking_place(text)[:2] == (uri, "server")
    assert tracking_place(text).artifacts is None


def test_files_and_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("runs", "./runs", tmp_path / "runs", f"file://{tmp_path}/runs", f"file://localhost{tmp_path}/runs"):
        assert tracking_place(text)[:2] == ((tmp_path / "runs").as_uri(), "folder")
    for text in ("sqlite:///runs.db", f"sqlite:///{tmp_path}/runs.db"):
        place = tracking_place(text)
        assert place[:2] == (f"sqlite:///{tmp_path}/runs.db", "sqlite")
        assert place.artifacts == (tmp_path / "runs-artifacts").as_uri()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "http://ann:s3cret@host:5000",
        "https://ann@s3cret.example",
        "https://:s3cret@host",
        "http://ann:s3/cret@host",
        "http://ann:s3?cret@host",
        "http:ann:s3cret@host",
        "https://host/path?token=s3cret",
        "https://host/#s3cret",
        "postgresql://ann:s3cret@host/runs",
        "mysql+pymysql://host/runs?password=s3cret",
        "ann:s3cret@host",
        "sqlite://ann:s3cret@host/runs.db",
        "sqlite:///runs.db?key=s3cret",
        "file://ann:s3cret@host/runs",
        "ftp://s3cret/",
    ],
)
def test_address_with_a_secret_is_refused_and_not_repeated(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrackingPlaceError, match=r"the address of the tracking store: found .*; ") as error:
        tracking_place(text)
    assert "cret" not in str(error.value)
    assert "ann" not in str(error.value).replace("another", "")


@pytest.mark.parametrize("text", ["http://", "http:///path", "http://host:port", "https://host:99999", "http://a b/"])
def test_server_without_a_host_or_port_is_refused(text: str) -> None:
    with pytest.raises(TrackingPlaceError, match="without a host, or with a port that is none"):
        tracking_place(text)


@pytest.mark.parametrize("text", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:runs.db"])
def test_database_in_no_file_is_refused(text: str) -> None:
    with pytest.raises(TrackingPlaceError, match="names no file"):
        tracking_place(text)


def test_what_is_there_and_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database, whatever its name")
    with pytest.raises(TrackingPlaceError, match=r"notes\.txt, which is no SQLite database"):
        tracking_place(f"sqlite:///{tmp_path}/notes.txt")
    with pytest.raises(TrackingPlaceError, match=r"notes\.txt, which is no folder"):
        tracking_place(tmp_path / "notes.txt")
    with pytest.raises(TrackingPlaceError, match=r"no folder .*gone for its database"):
        tracking_place(f"sqlite:///{tmp_path}/gone/runs.db")
