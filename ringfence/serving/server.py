# SPDX-License-Identifier: Apache-2.0
"""The service process: uvicorn around the app, one engine thread a scenario, one follower process a scenario."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, TextIO

import structlog
import uvicorn
import uvloop

from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import Clock
from ringfence.serving.app import App
from ringfence.serving.config import ServiceConfig
from ringfence.serving.connection import bounded
from ringfence.serving.errors import KeyFileError, ServiceFailedError, TlsFileError, TracingMissingError
from ringfence.serving.follower import follow
from ringfence.serving.front.relay import Relay
from ringfence.serving.keys import KeySource
from ringfence.serving.listening import Server, bounds_of, listening
from ringfence.serving.recovery import champion_of
from ringfence.serving.service import ScenarioService, State
from ringfence.serving.telemetry import Telemetry, configure_logging
from ringfence.serving.tls import Tls
from ringfence.workspace import Workspace

if TYPE_CHECKING:
    from ringfence.serving.tracing import Traces

_log: Final = structlog.get_logger("ringfence.serving")
# The loop and the engine thread hand the interpreter to each other; the default of 5 ms is most of our latency budget.
_SWITCH_S: Final = 0.0005
_GC_THRESHOLD: Final = 20_000
_LOOK_S: Final = 0.05
_FILES_LOOK_S: Final = 1.0  # a revoked key is refused after no more than this
_FOLLOWERS_LOOK_S: Final = 10.0


def serve(
    workspace: Workspace,
    keys: KeySource,
    clock: Clock,
    config: ServiceConfig,
    log: TextIO,
    *,
    scenario: str | None = None,
    tls: Tls | None = None,
    on_ready: Callable[[str], None] = lambda text: None,
) -> None:
    """Answer until SIGINT or SIGTERM. Health is open at once; decisions are answered when `/readyz` says so.

    Parameters
    ----------
    tls : None: plain HTTP, for this machine or a proxy that speaks TLS.
    on_ready : told once where the service answers, as soon as every scenario does.

    Raises
    ------
    NoChampionError
        If a scenario has no live release.
    TracingMissingError
        If traces are asked for, and the extra `otel` is not installed.
    ServiceFailedError
        If an engine thread gave up; a supervisor restarts the process, and restart is recovery.
    """
    configure_logging(log)
    names = list(workspace.scenarios) if scenario is None else [workspace.scenario(scenario).name]
    telemetry = Telemetry()
    servers: list[uvicorn.Server] = []

    def end() -> None:
        for server in servers:
            server.should_exit = True

    services = {name: _service(workspace, name, clock, config, telemetry, end) for name in names}
    traces = open_traces(config, clock, telemetry)
    app = App(services, keys.ring, telemetry, config, clock, traces)
    settings = listening(app, config, bounded(bounds_of(config), lambda kind: telemetry.problems.labels(kind).inc()))
    settings.load()
    settings.ssl = None if tls is None else tls.context
    server = Server(settings)
    servers.append(server)
    # A connection that speaks TLS cannot be handed from one process to another.
    relay = (
        Relay(app, server, services, str(workspace.path), config, telemetry) if config.front and tls is None else None
    )
    sys.setswitchinterval(_SWITCH_S)
    followers = {name: _start_follower(workspace, config, name) for name in names if config.follower}

    async def run() -> None:
        loop = asyncio.get_running_loop()

        async def leave() -> None:
            if relay is not None:
                await relay.stop()  # while there is still somebody to answer what it has under way
            end()

        leaving: list[asyncio.Task[None]] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: leaving.append(loop.create_task(leave())))
        for service in services.values():
            service.start(loop)
        tasks = [
            asyncio.create_task(
                _tell_when_ready(server, services, relay, lambda: on_ready(address(config, tls=tls is not None)))
            ),
            asyncio.create_task(_watch_files(app, keys, tls)),
            asyncio.create_task(_keep_followers(server, followers, partial(_start_follower, workspace, config))),
        ]
        if relay is not None:
            tasks.append(asyncio.create_task(relay.keep()))
        await server.serve()
        for task in tasks:
            task.cancel()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
    finally:
        for service in services.values():
            service.stop()
        for follower in followers.values():
            follower.terminate()
            follower.join(5)
        if traces is not None:
            traces.close()
    for name, service in services.items():
        if service.state is State.FAILED:
            raise ServiceFailedError(name, str(service.failure)) from service.failure


def address(config: ServiceConfig, *, tls: bool = False) -> str:
    """The URL of a service on this machine: one that listens everywhere is reached by its loopback too."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{config.port}" if ":" in host else f"{scheme}://{host}:{config.port}"


async def _tell_when_ready(
    server: uvicorn.Server, services: Mapping[str, ScenarioService], relay: Relay | None, tell: Callable[[], None]
) -> None:
    while not (
        server.started
        and all(service.state is State.READY for service in services.values())
        and (relay is None or relay.is_settled)
    ):
        await asyncio.sleep(_LOOK_S)
    tell()


async def _watch_files(app: App, keys: KeySource, tls: Tls | None) -> None:
    """Take up keys that were made, rotated or revoked, and a certificate that was renewed, while the service runs."""
    while True:
        await asyncio.sleep(_FILES_LOOK_S)
        try:
            if keys.look():
                app.accept(keys.ring)
                _log.info("keys read again", keys=len(keys.ring))
        except (KeyFileError, OSError) as error:
            _log.error("keys cannot be read; those from before stay", error=str(error))
        try:
            if tls is not None and tls.look():
                _log.info("certificate read again")
        except (TlsFileError, OSError) as error:
            _log.error("certificate cannot be used; the one from before stays", error=str(error))


async def _keep_followers(
    server: uvicorn.Server,
    followers: dict[str, multiprocessing.process.BaseProcess],
    start: Callable[[str], multiprocessing.process.BaseProcess],
) -> None:
    """Start a follower that ended again, as after one that was killed for its memory: without it, no snapshots."""
    while True:
        await asyncio.sleep(_FOLLOWERS_LOOK_S)
        for name, follower in list(followers.items()):
            if follower.is_alive() or server.should_exit:
                continue
            _log.error("follower ended, another is started", scenario=name, exit_code=follower.exitcode)
            try:
                # A new interpreter takes its time: the loop has others to answer meanwhile.
                followers[name] = await asyncio.to_thread(start, name)
            except OSError as error:  # no memory for it: the next look tries again
                _log.error("no follower can be started", scenario=name, cause=str(error))


def open_traces(config: ServiceConfig, clock: Clock, telemetry: Telemetry) -> Traces | None:
    """Begin to send traces where the configuration says so; where it does not, no library of tracing is loaded.

    Raises
    ------
    TracingMissingError
        If that library is not installed.
    """
    if not config.traces:
        return None
    try:
        from ringfence.serving.tracing import Traces, collector, quieten_sdk

        quieten_sdk()
        return Traces(collector(), clock, telemetry, sample=config.trace_sample)
    except ModuleNotFoundError as error:
        raise TracingMissingError(error.name or "opentelemetry") from error


def _service(
    workspace: Workspace, name: str, clock: Clock, config: ServiceConfig, telemetry: Telemetry, end: Callable[[], None]
) -> ScenarioService:
    directory = workspace.ledger_dir(name)
    release = champion_of(Ledger.open(directory, workspace.scenario(name)), workspace.releases_dir)
    # From here on the champion's scenario counts: an edited ringfence.yaml waits for the next release.
    ledger = Ledger.open(directory, release.scenario)
    return ScenarioService(
        ledger,
        release,
        workspace.state_dir(name),
        clock,
        config,
        telemetry,
        on_ready=_settle_memory,
        on_failure=end,
    )


def _settle_memory() -> None:
    """Take what start-up left out of the collector's sight: a full collection took 90 ms with it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 100)


def _start_follower(workspace: Workspace, config: ServiceConfig, name: str) -> multiprocessing.process.BaseProcess:
    # A fresh interpreter: a fork would share the engine's threads and locks.
    context = multiprocessing.get_context("spawn")
    follower = context.Process(
        target=follow, args=(str(workspace.path), name, config, os.getpid()), name=f"follower-{name}", daemon=True
    )
    follower.start()
    return follower
