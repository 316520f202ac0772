# SPDX-License-Identifier: Apache-2.0
"""`demo`: all of it, on a simulated insurer, in a minute or two."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from ringfence.cli.exits import CheckFailedError, UsageError
from ringfence.cli.live import Client, Service, free_port
from ringfence.cli.terminal import progress

if TYPE_CHECKING:
    from rich.console import Console

    from ringfence.simulate import LiveClaim
    from ringfence.workspace import Workspace

_ENDS = date(2025, 1, 1)  # of the history; live claims follow. Fixed, so that every demo is the same demo
_FRAUD_RATE = 0.015  # more than an insurer's usual share, so that two thousand live claims hold enough to see
_MIN_REASONS = 3
_MIN_LIFT = 1.5


class Answered(msgspec.Struct, frozen=True):
    """A live claim, what the service answered, and how long the round trip took."""

    claim: LiveClaim
    answer: dict[str, Any]
    took_ms: float

    @property
    def flagged(self) -> bool:
        return bool(self.answer["action"] != "approve")


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Check the whole path, then stop: exit code 0 if everything holds.")
    ] = False,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", metavar="DIR", help="An empty or new folder to keep; default: a new one."),
    ] = None,
    events: Annotated[int, typer.Option(min=5_000, help="Claims in the insurer's history.")] = 30_000,
    claims: Annotated[int, typer.Option(min=100, help="Live claims to send.")] = 2_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same insurer.")] = 8,
    port: Annotated[int | None, typer.Option(help="Port of the service; default: a free one.")] = None,
) -> None:
    """Simulate an insurer, import its history, train, serve, and decide live claims with reasons.

    Goes on serving until interrupted. Everything happens in one workspace folder, which is kept.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    folder = (workspace or Path(tempfile.mkdtemp(prefix="ringfence-demo-"))).resolve()
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"--workspace {folder} is not empty; name a new folder")
    here = _history(console, folder, events=events, seed=seed)
    _release(console, here)
    token = _key(here)
    port = port or free_port()
    console.rule("serve", align="left")
    # Being told to end, by whatever means, must not leave the service behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Service(here.path, port, folder / "service.log") as service:
        console.print(f"ready after {service.wait_ready():.1f} s at http://127.0.0.1:{port}, log in service.log")
        console.rule("live claims", align="left")
        answered = list(_stream(console, Client(port, token), _live(seed, events, claims)))
        _summary(console, answered)
        n_labels = _tell(Client(port, token), answered)
        console.print(f"told the service the truth about {n_labels} flagged claims: it has learnt from them")
        if once:
            _check(console, here, service, token, answered)
            console.print(f"all checks hold, {time.monotonic() - began:.0f} s in all; the workspace is {folder}")
            return
        console.rule("yours", align="left")
        console.print(_invitation(folder, port, token, answered))
        try:
            while service.alive:
                time.sleep(0.2)
        except KeyboardInterrupt:
            console.print("stopping the service")


def _history(console: Console, folder: Path, *, events: int, seed: int) -> Workspace:
    from ringfence.ledger.importer import import_files
    from ringfence.scenario.clock import SystemClock
    from ringfence.simulate import simulate_motor_claims
    from ringfence.workspace import Workspace

    console.rule("simulate", align="left")
    with progress("simulating an insurer", unit="claims") as report_progress:
        world = simulate_motor_claims(events, seed, folder, report_progress, fraud_rate=_FRAUD_RATE, ends=_ENDS)
    console.print(
        f"an insurer with {world.n_events:,} claims, {world.n_fraud:,} of them fraudulent in {world.n_rings} rings; "
        f"investigators know the truth about {world.n_labelled:,}"
    )
    here = Workspace(folder)
    scenario = here.scenario()
    console.rule("import", align="left")
    with progress("importing", unit="rows") as report_progress:
        report = import_files(here.ledger_dir(scenario), scenario, here.path, SystemClock(), progress=report_progress)
    console.print(
        f"{report.n_events:,} events and {report.n_labels:,} labels in the ledger, {report.n_rejected} rejected, "
        f"{report.seconds:.1f} s"
    )
    return here


def _release(console: Console, here: Workspace) -> None:
    from ringfence.cli.models import headline, make_release

    console.rule("train", align="left")
    made = make_release(here, here.scenario())
    console.print(headline(made.release))
    console.print(f"{made.seconds:.1f} s; report: {made.release.path / 'report.html'}")


def _key(here: Workspace) -> str:
    from ringfence.cli.acts import recorder
    from ringfence.serving.key_ring import Scope
    from ringfence.serving.keys import create_key

    scopes = {Scope.DECIDE, Scope.LABEL, Scope.READ}
    return create_key(here.keys_path, "demo", scopes, record=recorder(here))


def _live(seed: int, events: int, n_claims: int) -> Iterator[LiveClaim]:
    from ringfence.simulate import live_claims

    return islice(live_claims(seed, n_events=events, fraud_rate=_FRAUD_RATE, ends=_ENDS), n_claims)


def _stream(console: Console, client: Client, claims: Iterable[LiveClaim]) -> Iterator[Answered]:
    console.print(f"{'claim':<16} {'amount':>12}  {'action':<9} {'score':>6}  why", style="bold")
    n_approved = 0
    for claim in claims:
        began = time.perf_counter()
        answer = client.post("/v1/decisions", claim.event)
        took_ms = (time.perf_counter() - began) * 1000
        if answer["action"] == "approve":
            n_approved += 1
        else:
            if n_approved:
                console.print(f"  … {n_approved} approved", style="dim")
                n_approved = 0
            _show(console, claim, answer)
        yield Answered(claim, answer, took_ms)
    if n_approved:
        console.print(f"  … {n_approved} approved", style="dim")


def _show(console: Console, claim: LiveClaim, answer: dict[str, Any]) -> None:
    colour = {"challenge": "cyan", "review": "yellow", "decline": "red"}.get(answer["action"], "")
    reasons = [reason["sentence"] for reason in answer["reasons"][:_MIN_REASONS]]
    head = f"{claim.event['event_id']!s:<16} {claim.event['amount']:>12,.2f}  "
    console.print(f"{head}{answer['action']:<9} {answer['score']:>6.1%}  {reasons[0]}", style=colour)
    for reason in reasons[1:]:
        console.print(f"{'':<48} {reason}", style="dim")


def _summary(console: Console, answered: list[Answered]) -> None:
    flagged = [one for one in answered if one.flagged]
    took = sorted(one.took_ms for one in answered)
    base, caught = _fraud_share(answered), _fraud_share(flagged)
    console.print(
        f"{len(answered):,} claims decided one after another: median {took[len(took) // 2]:.1f} ms, "
        f"99th percentile {took[len(took) * 99 // 100]:.1f} ms, each one durable before the answer"
    )
    top = sorted(answered, key=lambda one: -float(one.answer["score"]))[: max(1, len(answered) // 10)]
    console.print(
        f"{len(flagged)} not approved, {caught:.1%} of them fraud; the tenth with the highest scores holds "
        f"{_fraud_share(top):.1%}, all claims {base:.1%} (the simulator knows; the service does not)"
    )


def _fraud_share(answered: list[Answered]) -> float:
    return sum(one.claim.fraud for one in answered) / len(answered) if answered else 0.0


def _tell(client: Client, answered: list[Answered]) -> int:
    known = [one for one in answered if one.flagged and one.claim.label is not None]
    for one in known:
        event = one.claim.event
        client.post(
            "/v1/labels",
            {
                "event_type": event["event_type"],
                "event_id": event["event_id"],
                "label": one.claim.label,
                "source": "investigator",
            },
        )
    return len(known)


def _check(console: Console, here: Workspace, service: Service, token: str, answered: list[Answered]) -> None:
    """Prove what the demo claims; raises CheckFailedError at the first thing that does not hold."""
    from ringfence.cli.proofs import state_proof
    from ringfence.ledger.ledger import Ledger

    console.rule("check", align="left")
    flagged = [one for one in answered if one.flagged]
    if not flagged:
        raise CheckFailedError("not one live claim was flagged")
    few = [one for one in flagged if len(one.answer["reasons"]) < _MIN_REASONS]
    if few:
        raise CheckFailedError(f"{len(few)} claims were not approved with fewer than {_MIN_REASONS} reasons")
    console.print(f"ok  each of the {len(flagged)} claims that were not approved has at least {_MIN_REASONS} reasons")
    base, caught = _fraud_share(answered), _fraud_share(flagged)
    if caught < _MIN_LIFT * base:
        raise CheckFailedError(f"flagged claims hold {caught:.1%} fraud, all claims {base:.1%}: no enrichment")
    console.print(f"ok  fraud is {caught / base:.1f} times as frequent among them as among all claims")

    service.kill()
    scenario = here.scenario()
    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    for one in answered:
        record = ledger.decision(one.answer["decision_id"])
        if record is None or getattr(record.body, "action", None) != one.answer["action"]:
            raise CheckFailedError(f"decision {one.answer['decision_id']} was acknowledged and is not in the ledger")
    console.print(f"ok  killed the service (-9): all {len(answered):,} acknowledged decisions are in the ledger")
    with Service(here.path, service.port, here.path / "service.log") as again:
        seconds = again.wait_ready()
        client = Client(again.port, token)
        for one in answered[-20:]:
            if client.post("/v1/decisions", one.claim.event) != one.answer:
                raise CheckFailedError(f"{one.claim.event['event_id']} was answered differently after the restart")
    console.print(f"ok  restarted in {seconds:.1f} s: the same claims sent again get the same decisions")
    proof = state_proof(here, scenario)
    if not proof.holds:
        raise CheckFailedError(f"state differs after recovery: {proof.recovered} and {proof.replayed}")
    way = "a replay in small batches" if proof.snapshot_seq is None else f"the snapshot at seq {proof.snapshot_seq:,}"
    console.print(f"ok  {way} and a fresh replay give the same state: {proof.replayed[:16]}")


def _invitation(folder: Path, port: int, token: str, answered: list[Answered]) -> str:
    example = {**answered[-1].claim.event, "event_id": "my-first-claim"}
    body = msgspec.json.encode(example).decode()
    return (
        f"The service goes on until you press Ctrl-C. Send it a claim:\n\n"
        f"curl -s http://127.0.0.1:{port}/v1/decisions -H 'Authorization: Bearer {token}' \\\n"
        f"  -H 'Content-Type: application/json' -d '{body}'\n\n"
        f"workspace: {folder}"
    )
