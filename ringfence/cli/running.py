# SPDX-License-Identifier: Apache-2.0
"""Changes that a running service makes itself, since it holds the only right to append to the ledger."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode, urlsplit

import typer

from ringfence.errors import RingfenceError

if TYPE_CHECKING:
    from urllib.error import HTTPError

HERE_URL = "http://127.0.0.1:8473"
TOKEN = "RINGFENCE_TOKEN"
UrlOption = Annotated[
    str, typer.Option(metavar="URL", help=f"Where a running service answers; it is asked with the token in {TOKEN}.")
]
_TIMEOUT_S = 60.0
_LOOK_S = 0.1


class ServiceRunsError(RingfenceError):
    """The ledger has a writer, as a rule a service, and no token was given to ask it with."""

    def __init__(self, locked: str, url: str, path: str, body: dict[str, str]) -> None:
        self.url = url
        super().__init__(
            f"{locked}. A running service switches by itself: set {TOKEN} to a token with the scope admin (`ringfence "
            f"keys create NAME --scopes admin`) and repeat the command, with --url if it answers elsewhere; or: "
            f"curl -X POST -H 'Authorization: Bearer TOKEN' -d '{json.dumps(body)}' {url}{path}"
        )


class ServiceRefusedError(RingfenceError):
    """The service said no, or could not be reached."""

    def __init__(
        self,
        url: str,
        found: str,
        *,
        status: int | None = None,
        retry_after_s: int = 1,
        is_late: bool = False,
        is_gone: bool = False,
    ) -> None:
        self.url, self.found = url, found
        self.status, self.retry_after_s = status, retry_after_s  # None: it gave no answer
        self.is_late, self.is_gone = is_late, is_gone  # no answer in time; no connection, or one that ended
        super().__init__(f"the service at {url}: {found}")


class SwitchFailedError(RingfenceError):
    """The service began, and goes on with the release it had."""

    def __init__(self, release: str, cause: str) -> None:
        self.release, self.cause = release, cause
        super().__init__(f"{release} did not become the champion, the one from before goes on: {cause}")


def switch_release(
    url: str, route: str, body: dict[str, str], scenario: str, *, locked: RingfenceError, say: Callable[[str], None]
) -> dict[str, Any]:
    """Have a running service promote or roll back, and wait until it has.

    Parameters
    ----------
    route : promote | rollback.
    locked : why the ledger cannot be written from here.

    Returns
    -------
    `SwitchStatus` of the API.

    Raises
    ------
    ServiceRunsError
        Without a token.
    ServiceRefusedError, SwitchFailedError
        If the service does not do it.
    """
    token, query, status = _posted(url, route, body, scenario, locked)
    say(f"the service at {url} makes {status['release']} ready; it goes on by itself, whatever becomes of this command")
    step = ""
    while status["step"] not in ("done", "failed"):
        if status["step"] != step:
            step = status["step"]
            say(step)
        time.sleep(_LOOK_S)
        found = ask(url, token, "GET", "/v1/releases" + query)["switch"]
        if found is None or found["number"] != status["number"]:
            cause = "the service started anew, or changed the release again; see `ringfence release list`"
            raise SwitchFailedError(status["release"], cause)
        status = found
    if status["step"] == "failed":
        raise SwitchFailedError(status["release"], status["failure"])
    return status


def shadow_release(
    url: str, route: str, body: dict[str, str], scenario: str, *, locked: RingfenceError
) -> dict[str, Any]:
    """Have a running service begin or end a shadow; parameters and errors as `switch_release` has them.

    Parameters
    ----------
    route : shadow | unshadow.

    Returns
    -------
    `ShadowChange` of the API.
    """
    return _posted(url, route, body, scenario, locked)[2]


def _posted(
    url: str, route: str, body: dict[str, str], scenario: str, locked: RingfenceError
) -> tuple[str, str, dict[str, Any]]:
    """Return the token, the query and the answer of the service to a change of its releases."""
    path = f"/v1/releases/{route}"
    token = os.environ.get(TOKEN)
    if not token:
        raise ServiceRunsError(str(locked), url, path, body)
    query = f"?{urlencode({'scenario': scenario})}"
    return token, query, ask(url, token, "POST", path + query, body)


def ask(
    url: str,
    token: str,
    method: str,
    path: str,
    body: Mapping[str, str | int] | None = None,
    *,
    option: str = "--url",
    timeout_s: float = _TIMEOUT_S,
) -> dict[str, Any]:
    """Send one request to a running service, and return the JSON object that it answers.

    Parameters
    ----------
    option : of the command, which names the address.
    timeout_s : that nothing may come for.

    Raises
    ------
    ServiceRefusedError
        If it refuses or gives no answer, or if the token would go through the network in the clear.
    """
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

    class Stay(HTTPRedirectHandler):
        """Follows nobody: the token would go along."""

        def redirect_request(self, *told: Any) -> None:
            return None

    parts = urlsplit(url)
    is_here = _is_loopback(parts.hostname or "")
    if parts.scheme not in ("http", "https"):
        raise ServiceRefusedError(url, f"is no http or https address; name it with {option}")
    if parts.scheme == "http" and not is_here:
        raise ServiceRefusedError(url, f"would be sent the token in the clear; name an https address with {option}")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = Request(url.rstrip("/") + path, data, headers, method=method)
    opener = build_opener(Stay, *([ProxyHandler({})] if is_here else []))  # this machine is asked by no proxy
    try:
        with opener.open(request, timeout=timeout_s) as response:
            answer: dict[str, Any] = json.load(response)
    except HTTPError as error:
        with error:
            after = error.headers.get("Retry-After", "")
            raise ServiceRefusedError(
                url, _detail(error, option), status=error.code, retry_after_s=int(after) if after.isdigit() else 1
            ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            found = f"gave no answer within {timeout_s:g} s; what it was asked for may be done"
            raise ServiceRefusedError(url, found, is_late=True) from None
        found = f"cannot be asked ({reason}); name where it answers with {option}"
        raise ServiceRefusedError(url, found, is_gone=isinstance(error, OSError)) from None
    return answer


def _is_loopback(host: str) -> bool:
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _detail(error: HTTPError, option: str) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"answered {error.code}, which is not an answer of ringfence; name where it answers with {option}"
