# SPDX-License-Identifier: Apache-2.0
"""TLS by two files: what is refused at the start, what a client sees, and renewal while the service runs."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.serving.errors import TlsFileError
from ringfence.serving.keys import Scope, create_key, revoke_key
from ringfence.serving.tls import Tls
from ringfence.workspace import Workspace

from .conftest import claim, copy_of

pytestmark = pytest.mark.services  # the openssl command makes the certificates


def make_certificate(folder: Path, name: str, password: str | None = None) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    secret = ["-noenc"] if password is None else ["-passout", f"pass:{password}"]
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2",
        "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate),
        *secret,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o600)
    return certificate, key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def first(folder: Path) -> tuple[Path, Path]:
    return make_certificate(folder, "first")


@pytest.fixture(scope="module")
def second(folder: Path) -> tuple[Path, Path]:
    return make_certificate(folder, "second")


def shown_name(tls: Tls, trusted: Path, version: ssl.TLSVersion | None = None) -> str:
    """Shake hands with a server of this context as a client that trusts one certificate; return the name it shows."""

    async def work() -> str:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=tls.context)
        client = ssl.create_default_context(cafile=trusted)
        if version is not None:
            client.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            client.maximum_version = version
        async with server:
            address = server.sockets[0].getsockname()
            _, writer = await asyncio.open_connection(*address, ssl=client)
            shown = writer.get_extra_info("peercert")["subject"][0][0][1]
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return str(shown)

    return asyncio.run(work())


def test_a_client_sees_the_certificate_and_trusts_it(first: tuple[Path, Path], second: tuple[Path, Path]) -> None:
    tls = Tls(*first)
    assert shown_name(tls, first[0]) == "first"
    assert shown_name(tls, first[0], ssl.TLSVersion.TLSv1_2) == "first"
    with pytest.raises(ssl.SSLCertVerificationError):
        shown_name(tls, second[0])


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_versions_before_1_2_are_refused(first: tuple[Path, Path]) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shown_name(Tls(*first), first[0], ssl.TLSVersion.TLSv1_1)


def test_a_renewed_pair_is_taken_up_and_half_a_renewal_is_not(
    tmp_path: Path, first: tuple[Path, Path], second: tuple[Path, Path]
) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    put(first, certificate, key)
    tls = Tls(certificate, key)
    assert not tls.look()
    certificate.write_bytes(second[0].read_bytes())
    with pytest.raises(TlsFileError, match="not that of"):
        tls.look()
    assert not tls.look()  # told once
    assert shown_name(tls, first[0]) == "first"
    put(second, certificate, key)
    assert tls.look()
    assert shown_name(tls, second[0]) == "second"


def put(pair: tuple[Path, Path], certificate: Path, key: Path) -> None:
    for source, target in zip(pair, (certificate, key), strict=True):
        target.write_bytes(source.read_bytes())
        target.chmod(0o600)


def test_files_that_cannot_be_used_are_refused_with_what_to_do(
    tmp_path: Path, folder: Path, first: tuple[Path, Path], second: tuple[Path, Path]
) -> None:
    with pytest.raises(TlsFileError, match="no such file"):
        Tls(first[0], tmp_path / "none.key")
    with pytest.raises(TlsFileError, match="not that of"):
        Tls(first[0], second[1])
    noise = tmp_path / "noise.key"
    noise.write_text("nonsense")
    noise.chmod(0o600)
    with pytest.raises(TlsFileError, match="in PEM"):
        Tls(first[0], noise)
    with pytest.raises(TlsFileError, match="in PEM"):
        Tls(noise, first[1])
    open_key = tmp_path / "open.key"
    open_key.write_bytes(first[1].read_bytes())
    open_key.chmod(0o644)
    with pytest.raises(TlsFileError, match="chmod 600"):
        Tls(first[0], open_key)


def test_a_key_with_a_password_needs_it_and_never_asks_for_it(folder: Path) -> None:
    pair = make_certificate(folder, "locked", "open sesame")
    assert shown_name(Tls(*pair, "open sesame"), pair[0]) == "locked"
    for wrong in (None, "sesame"):
        with pytest.raises(TlsFileError, match="RINGFENCE_TLS_KEY_PASSWORD"):
            Tls(*pair, wrong)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_beyond_loopback_it_does_not_start_without_tls_or_a_word_about_a_proxy(
    host: str, template: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = copy_of(template, tmp_path / "workspace")
    create_key(here.keys_path, "test", {Scope.ADMIN})
    assert run(["serve", "-w", str(here.path), "--host", host]) == Exit.USAGE
    told = capsys.readouterr().err
    assert "in the clear" in told
    assert "--tls-certificate" in told
    assert "--behind-proxy" in told


def test_certificate_and_key_go_together(
    template: Workspace, tmp_path: Path, first: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    here = copy_of(template, tmp_path / "workspace")
    create_key(here.keys_path, "test", {Scope.ADMIN})
    assert run(["serve", "-w", str(here.path), "--tls-certificate", str(first[0])]) == Exit.USAGE
    assert "go together" in capsys.readouterr().err


@pytest.fixture(scope="module")
def served(
    template: Workspace, folder: Path, first: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, str, Workspace]]:
    from benchmarks.subject import ServiceProcess, Subject, free_port

    place = tmp_path_factory.mktemp("tls")
    workspace = copy_of(template, place / "workspace")
    token = create_key(workspace.keys_path, "test", {Scope.ADMIN})
    put(first, place / "tls.crt", place / "tls.key")
    options = ("--tls-certificate", str(place / "tls.crt"), "--tls-key", str(place / "tls.key"), "--host", "0.0.0.0")
    subject = Subject(workspace.path, token, list)
    service = ServiceProcess(subject, free_port(), place / "service.log", options=options)
    try:
        deadline = time.monotonic() + 180
        while f"ready: decisions at https://127.0.0.1:{service.port}/" not in (place / "service.log").read_text():
            assert service.process.poll() is None, (place / "service.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield service.port, token, workspace
        service.stop()
        assert service.process.returncode == 0
    finally:
        service.kill_all()


def ask(port: int, token: str, trusted: Path, event: str) -> int:
    context = ssl.create_default_context(cafile=trusted)
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    connection.request("POST", "/v1/decisions", json.dumps(claim(event)).encode(), headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_service_decides_over_tls_and_answers_nothing_in_the_clear(
    served: tuple[int, str, Workspace], first: tuple[Path, Path]
) -> None:
    port, token, _ = served
    assert ask(port, token, first[0], "tls") == 200
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as plain:
        plain.request("GET", "/healthz")
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.getresponse()


def test_keys_and_certificates_are_taken_up_while_it_runs(
    served: tuple[int, str, Workspace], first: tuple[Path, Path], second: tuple[Path, Path]
) -> None:
    port, _, workspace = served
    brief = create_key(workspace.keys_path, "brief", {Scope.DECIDE})
    until(lambda: ask(port, brief, first[0], "brief") == 200)
    revoke_key(workspace.keys_path, "brief")
    until(lambda: ask(port, brief, first[0], "brief") == 401)
    place = workspace.path.parent
    put(second, place / "tls.crt", place / "tls.key")

    def renewed() -> bool:
        try:
            return ask(port, brief, second[0], "brief") == 401
        except ssl.SSLCertVerificationError:
            return False

    until(renewed)


def until(done: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)
