# SPDX-License-Identifier: Apache-2.0
"""Where a tracking store lies, read from what somebody wrote, without any secret in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from ringfence.rollout.errors import TrackingPlaceError

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_SQLITE: Final = b"SQLite format 3\x00"
_HELD: Final = "a user, a password or a token"


class TrackingPlace(NamedTuple):
    """A tracking store's address as MLflow reads it; holds no secret, so messages may repeat it."""

    uri: str
    kind: Literal["server", "folder", "sqlite"]
    path: Path | None = None  # of a folder or a database, absolute

    @property
    def artifacts(self) -> str | None:
        """Where a new experiment's files go; None where the store itself says."""
        if self.kind != "sqlite" or self.path is None:
            return None
        return self.path.with_name(f"{self.path.stem}-artifacts").as_uri()


def tracking_place(text: str | Path) -> TrackingPlace:
    """Read the address of a tracking store.

    Parameters
    ----------
    text : `http://…` or `https://…` (a server), `sqlite:///FILE`, `file:///FOLDER`, or a folder. A path that is not
        absolute is relative to the working directory.

    Raises
    ------
    TrackingPlaceError
        If it is of another kind, holds a user, a password or a query, or is no place for a store. The message does not
        repeat what was given.
    """
    given = str(text)
    found = None if isinstance(text, Path) else _SCHEME.match(given)
    if found is None:
        return _folder(Path(given))
    scheme, rest = found[1].lower(), given[found.end() :]
    if scheme in ("http", "https"):
        return _server(scheme, given, rest)
    if scheme == "sqlite":
        return _sqlite(rest)
    if scheme == "file":
        if not rest.startswith("/") or urlsplit(given).netloc not in ("", "localhost"):
            raise TrackingPlaceError(
                "a file: address that begins with no folder", "write file:///FOLDER, or the folder"
            )
        return _folder(Path(unquote(urlsplit(given).path)))
    raise TrackingPlaceError(
        "an address of another kind",
        "write http://HOST:PORT, https://HOST, sqlite:///FILE or a folder; give a database server to a tracking "
        "server, and the address of that one here",
    )


def _server(scheme: str, given: str, rest: str) -> TrackingPlace:
    # Wherever it stands: a password may hold a slash, and then reads as part of the path.
    if "@" in rest:
        raise TrackingPlaceError(
            f"a user or a password in its {scheme} address",
            "take them out, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, "
            "which MLflow reads",
        )
    if "?" in rest or "#" in rest:
        raise TrackingPlaceError(f"a query in its {scheme} address, which may hold {_HELD}", "take it out")
    try:
        parts = urlsplit(given)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or re.search(r"\s|[\x00-\x1f\\]", given):
        raise TrackingPlaceError(f"an {scheme} address without a host, or with a port that is none", "write it as "
                                 f"{scheme}://HOST:PORT")  # fmt: skip
    return TrackingPlace(f"{scheme}:{rest}".rstrip("/"), "server")


def _sqlite(rest: str) -> TrackingPlace:
    if not rest.startswith("///") or len(rest) == 3 or "?" in rest or "#" in rest or rest == "///:memory:":
        raise TrackingPlaceError("a sqlite address that names no file, or more than a file", "write sqlite:///FILE")
    path = Path(rest[3:]).resolve()
    # MLflow would try again for minutes, and repeat what it was given each time.
    if not path.parent.is_dir():
        raise TrackingPlaceError(f"no folder {path.parent} for its database", "make the folder, or mend the address")
    if path.exists() and (not path.is_file() or not _is_database(path)):
        raise TrackingPlaceError(f"{path}, which is no SQLite database", "name a database, or a file yet to be made")
    return TrackingPlace(f"sqlite:///{path}", "sqlite", path)


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) in (b"", _SQLITE)


def _folder(path: Path) -> TrackingPlace:
    whole = path.expanduser().resolve()
    if whole.exists() and not whole.is_dir():
        raise TrackingPlaceError(f"{whole}, which is no folder", "name a folder, or sqlite:///FILE for a database")
    return TrackingPlace(whole.as_uri(), "folder", whole)
