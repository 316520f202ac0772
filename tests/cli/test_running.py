# SPDX-License-Identifier: Apache-2.0
"""Whom the command line gives the token of a running service to."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

import pytest

from ringfence.cli.running import ServiceRefusedError, switch_release
from ringfence.errors import RingfenceError
from tests.rollout.tracking_server import listening


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://192.0.2.7:8473", "the token in the clear"),
        ("http://ringfence.example:8473", "the token in the clear"),
        ("ftp://127.0.0.1", "no http or https address"),
    ],
)
def test_the_token_goes_to_nobody_in_the_clear(monkeypatch: pytest.MonkeyPatch, url: str, told: str) -> None:
    monkeypatch.setenv("RINGFENCE_TOKEN", "secret")
    locked = RingfenceError("locked")
    with pytest.raises(ServiceRefusedError, match=told):
        switch_release(url, "rollback", {}, "claims", locked=locked, say=lambda text: None)


def test_the_token_follows_no_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *told: object) -> None:
            pass

    monkeypatch.setenv("RINGFENCE_TOKEN", "secret")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # which nobody asks for this machine
    with listening(Elsewhere) as url, pytest.raises(ServiceRefusedError, match="answered 302"):
        switch_release(url, "rollback", {}, "claims", locked=RingfenceError("locked"), say=lambda text: None)
    assert asked == ["/v1/releases/rollback?scenario=claims"]
