# SPDX-License-Identifier: Apache-2.0
"""`serve`: the HTTP service."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer

from ringfence.cli.exits import UsageError
from ringfence.cli.options import HERE, ScenarioOption, WorkspaceOption, rate_option
from ringfence.errors import RingfenceError

if TYPE_CHECKING:
    from ringfence.serving.tls import Tls


COLLECTOR: Final = "http://localhost:4318"  # where OpenTelemetry has it unless told otherwise
COLLECTOR_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
COLLECTOR_HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")


class AddressTakenError(RingfenceError):
    """Someone else listens there, or the machine has no such address."""

    def __init__(self, host: str, port: int, found: str) -> None:
        self.host, self.port = host, port
        super().__init__(f"cannot listen on {host}:{port}: {found}; name another with --port, or end who holds it")


def serve(
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; any other than loopback asks for a certificate, or --behind-proxy."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8473,
    tls_certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Speak TLS: the certificate chain, in PEM. Renewals are taken up."),
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's key, in PEM.")] = None,
    behind_proxy: Annotated[
        bool,
        typer.Option("--behind-proxy", help="Speak plain HTTP beyond loopback: a proxy that speaks TLS stands before."),
    ] = False,
    rate: Annotated[
        float | None, typer.Option(help="Requests a second that a key may make which has no rate of its own.")
    ] = None,
    burst: Annotated[
        int | None, typer.Option(help="Requests it may make at once (default: those of a second).")
    ] = None,
    metrics_open: Annotated[bool, typer.Option("--metrics-open", help="Let /metrics be read without a key.")] = False,
    snapshot_every: Annotated[
        float,
        typer.Option(min=1.0, help="Seconds between two snapshots of the state; 50,000 records force one."),
    ] = 300.0,
    machine_price: Annotated[
        float | None,
        typer.Option(min=0.0, help="What this machine costs an hour: /metrics then tell the cost of 1,000 decisions."),
    ] = None,
    traces: Annotated[
        bool,
        typer.Option("--traces", help="Send OpenTelemetry traces; OTEL_EXPORTER_OTLP_ENDPOINT says where to."),
    ] = False,
    trace_sample: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Share of the requests without a traceparent that --traces begins a trace for."
        ),
    ] = 0.0,
    front: Annotated[
        bool,
        typer.Option(
            "--front/--no-front",
            help="Read requests in a process of their own; with TLS the service reads them itself.",
        ),
    ] = True,
    deadline: Annotated[
        int,
        typer.Option(
            min=1, max=60_000, help="Milliseconds to decide in, where a request names none; a lower rung answers then."
        ),
    ] = 50,
) -> None:
    """Answer decisions over HTTP until interrupted. Start-up is recovery: newest snapshot, then replay.

    Serves every scenario of the workspace that --scenario does not narrow down. API keys come from keys.txt and the
    environment variable RINGFENCE_KEYS; a password of --tls-key from RINGFENCE_TLS_KEY_PASSWORD. One line on
    stdout says where it answers, as soon as it does. Logs are JSON lines on stderr.
    """
    from ringfence.scenario.clock import SystemClock
    from ringfence.serving.config import ServiceConfig
    from ringfence.serving.keys import KeySource
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    keys = KeySource(here.keys_path, os.environ.get("RINGFENCE_KEYS"))
    config = ServiceConfig(
        host=host,
        port=port,
        metrics_open=metrics_open,
        rate=rate_option(rate, burst),
        front=front,
        snapshot_every_s=snapshot_every,
        deadline_ms=deadline,
        machine_price_per_hour=machine_price,
        traces=traces,
        trace_sample=trace_sample,
    )
    if traces:
        _require_private_collector(os.environ)
    tls = _tls(tls_certificate, tls_key)
    if tls is None and not behind_proxy:
        _require_loopback(host)
    _require_free(host, port)
    from ringfence.serving.server import serve as run_server

    run_server(
        here,
        keys,
        SystemClock(),
        config,
        sys.stderr,
        scenario=scenario,
        tls=tls,
        on_ready=lambda url: typer.echo(f"ready: decisions at {url}/v1/decisions; Ctrl-C ends it"),
    )


def _tls(certificate: Path | None, key: Path | None) -> Tls | None:
    from ringfence.serving.tls import Tls

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError("--tls-certificate and --tls-key go together; one without the other was given")
    return Tls(certificate, key, os.environ.get("RINGFENCE_TLS_KEY_PASSWORD"))


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine; also where there is no such address: nothing is sent then."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return True
    return all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in found)


def _require_loopback(host: str) -> None:
    """Raise `UsageError` where tokens and events would cross a network in the clear."""
    if not is_loopback(host):
        raise UsageError(
            f"--host {host} without TLS would send tokens and events through the network in the clear; give "
            "--tls-certificate and --tls-key, or say --behind-proxy where a proxy that speaks TLS stands before it"
        )


def _require_private_collector(environment: Mapping[str, str]) -> None:
    """Raise `UsageError` where what the collector knows us by would cross a network in the clear."""
    name = next((name for name in COLLECTOR_ENDPOINTS if environment.get(name)), COLLECTOR_ENDPOINTS[-1])
    found = urlsplit(environment.get(name) or COLLECTOR)
    has_secret = found.username is not None or any(environment.get(name) for name in COLLECTOR_HEADERS)
    if has_secret and found.scheme != "https" and not is_loopback(found.hostname or ""):
        raise UsageError(
            f"{name} without TLS would send the headers for the collector through the network in the clear; give an "
            "https address, or a collector on this machine that passes traces on"
        )


def _require_free(host: str, port: int) -> None:
    """Raise `AddressTakenError` now rather than after the recovery of the state."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a closing socket is no holder
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AddressTakenError(host, port, error.strerror or str(error)) from None
