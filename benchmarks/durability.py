# SPDX-License-Identifier: Apache-2.0
"""Kill the service in the middle of load, again and again, and count what was acknowledged and is not there.

    python -m benchmarks.durability --rounds 10             # kill -9
    python -m benchmarks.durability --rounds 10 --unsynced  # and whatever was not fsynced is gone, too (needs gcc)

Each round sends decisions, events to learn and labels (about events of earlier rounds), kills the service, takes the
files back to their last fsync if asked to, starts it again and sends what stayed unanswered once more. At the end every
acknowledged record must be in the ledger with the content that was acknowledged, none twice, and the state that the
service recovered must have the hash of a fresh replay.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import unsynced
from benchmarks.load import Load, http_request
from benchmarks.subject import ServiceProcess, Subject, free_port, prepare
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, EventBody, LabelBody
from ringfence.workspace import Workspace

Request = tuple[str, dict[str, Any]]  # path, body


@dataclass
class Acknowledged:
    """What the service has promised so far."""

    decisions: dict[str, dict[str, Any]] = field(default_factory=dict)  # event id -> answer
    events: dict[str, int] = field(default_factory=dict)  # event id -> seq
    labels: dict[str, int] = field(default_factory=dict)  # event id -> seq of the label
    asked_labels: set[str] = field(default_factory=set)
    contradictions: list[str] = field(default_factory=list)

    def take(self, path: str, answer: dict[str, Any]) -> None:
        event_id = answer["event_id"]
        if path == "/v1/decisions":
            answer = {**answer, "durable": True}  # the one thing that may change, and only to this
            if self.decisions.setdefault(event_id, answer) != answer:
                self.contradictions.append(f"{event_id} was decided twice: {self.decisions[event_id]} and {answer}")
        elif path == "/v1/events":
            if self.events.setdefault(event_id, answer["seq"]) != answer["seq"]:
                self.contradictions.append(f"{event_id} has two seqs")
        else:
            self.labels[event_id] = answer["seq"]


def send(
    subject: Subject,
    service: ServiceProcess,
    requests: list[Request],
    rate: float,
    kill_after_s: float | None = None,
    kill: Callable[[], None] = lambda: None,
) -> list[tuple[Request, int, bytes]]:
    """Send requests at a constant rate, killing the service in the middle if asked; status 0 is no answer."""
    wires = [http_request(path, json.dumps(body).encode(), subject.token, "127.0.0.1") for path, body in requests]

    async def run() -> Load:
        load = Load("127.0.0.1", service.port, wires, rate, n_connections=32)
        await load.run(patience_s=10.0)
        return load

    killer = threading.Timer(kill_after_s, kill) if kill_after_s is not None else None
    if killer is not None:
        killer.start()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load = runner.run(run())
    if killer is not None:
        killer.join()
    bodies = [answer.partition(b"\r\n\r\n")[2] for answer in load.answers]
    return list(zip(requests, load.status, bodies, strict=True))


def requests_of(
    subject: Subject, events: list[dict[str, Any]], known: Acknowledged, draw: random.Random
) -> list[Request]:
    """Mix new decisions, events to learn, decisions on events learned before, and labels on decided ones."""
    unlabelled = [event_id for event_id in known.decisions if event_id not in known.asked_labels]
    requests: list[Request] = []
    for event in events:
        kind = draw.random()
        if kind < 0.15:
            requests.append(("/v1/events", event))
        elif kind < 0.25 and unlabelled:
            body = {"event_id": unlabelled.pop(), "label": draw.choice(["fraud", "legit"]), "source": "investigator"}
            known.asked_labels.add(body["event_id"])
            requests.append(("/v1/labels", body))
        else:
            requests.append(("/v1/decisions", event))
    return requests


def faults(subject: Subject, known: Acknowledged) -> list[str]:
    """Compare the ledger with what was acknowledged."""
    workspace = Workspace(subject.path)
    ledger = Ledger.open(workspace.ledger_dir(workspace.scenario()), workspace.scenario())
    found = list(known.contradictions)
    decisions: dict[str, tuple[int, DecisionBody]] = {}
    events: dict[str, int] = {}
    labels: dict[int, str] = {}
    seqs: dict[int, str] = {}
    n_labels: Counter[str] = Counter()
    for record in ledger.records():
        body = record.body
        if isinstance(body, DecisionBody):
            if body.event_id in decisions:
                found.append(f"{body.event_id} has two decisions")
            decisions[body.event_id] = (record.seq, body)
        elif isinstance(body, EventBody):
            if body.event.event_id in events:
                found.append(f"{body.event.event_id} is there twice")
            events[body.event.event_id] = record.seq
            seqs[record.seq] = body.event.event_id
        elif isinstance(body, LabelBody) and body.source == "investigator":
            labels[record.seq] = seqs[body.event_seq]
            n_labels[seqs[body.event_seq]] += 1
    for event_id, answer in known.decisions.items():
        if event_id not in decisions:
            found.append(f"the decision on {event_id} was acknowledged and is lost")
            continue
        seq, decision = decisions[event_id]
        stored = (f"d-{seq}", decision.action, decision.score, decision.event_seq)
        if stored != (answer["decision_id"], answer["action"], answer["score"], answer["event_seq"]):
            found.append(f"the decision on {event_id} is not the one acknowledged")
        if events.get(event_id) != answer["event_seq"]:
            found.append(f"the event of the decision on {event_id} is lost")
    found += [f"event {event_id} is lost" for event_id, seq in known.events.items() if events.get(event_id) != seq]
    found += [
        f"the label on {event_id} is lost" for event_id, seq in known.labels.items() if labels.get(seq) != event_id
    ]
    found += [f"the label on {event_id} is there {n} times" for event_id, n in n_labels.items() if n > 1]
    return found


def replayed_hash(subject: Subject) -> str:
    """Hash the state of a fresh engine that has folded the whole ledger."""
    workspace = Workspace(subject.path)
    scenario = workspace.scenario()
    engine = Engine(Catalogue.build(scenario))
    for batch in Ledger.open(workspace.ledger_dir(scenario), scenario).batches():
        engine.observe(batch)
    return engine.state_hash()


def logged_hash(log: Path, event: str) -> str | None:
    """Return the state hash that the service logged last with `event`."""
    found = None
    for line in log.read_text(encoding="utf-8").splitlines():
        if line.startswith("{") and (entry := json.loads(line)).get("event") == event:
            found = entry.get("state_hash")
    return found


def torture(
    subject: Subject, folder: Path, *, rounds: int, rate: float, seconds: float, drop_unsynced: bool, seed: int
) -> dict[str, Any]:
    """Run the rounds and return the counts; `faults` in the result must be empty."""
    draw = random.Random(seed)
    log, undo_logs = folder / "service.log", folder / "undo"
    environment: dict[str, str] = {}
    if drop_unsynced:
        environment = unsynced.environment(unsynced.build(folder), subject.path, undo_logs)
    known, pending = Acknowledged(), list[Request]()
    n_undone, n_retried, n_unanswered, found = 0, 0, 0, list[str]()
    tag = f"-{time.time_ns()}"
    world = subject.events(int(rounds * rate * seconds) + rounds, tag)
    learned: list[dict[str, Any]] = []
    for round_number in range(rounds + 1):
        service = ServiceProcess(subject, free_port(), log, environment)
        # Undoing writes is only right when nobody has the files open any more.
        kill = service.kill_all if drop_unsynced else service.kill
        try:
            service.wait_ready()
            recovered = logged_hash(log, "ready")
            if recovered != replayed_hash(subject):
                found.append(f"round {round_number}: the recovered state is not the replayed one")
            last = round_number == rounds
            n_retried += len(pending)
            fresh = list(islice(world, int(rate * seconds)))
            requests = pending if last else pending + requests_of(subject, fresh, known, draw)
            if not last:
                requests += [("/v1/decisions", event) for event in learned[-20:]]  # learned before, decided now
            kill_after_s = None if last else draw.uniform(0.3, 0.9) * len(requests) / rate
            outcomes = send(subject, service, requests, rate, kill_after_s, kill)
            pending = []
            for (path, body), status, answer in outcomes:
                if status in (200, 202) and drop_unsynced and not (last or json.loads(answer)["durable"]):
                    pending.append((path, body))  # nothing was promised that outlives the loss of power; a stop waits
                elif status in (200, 202):
                    known.take(path, json.loads(answer))
                    if path == "/v1/events":
                        learned.append(body)
                elif status in (0, 429, 503):  # refused, or not known: asked again with the same id
                    pending.append((path, body))
                else:
                    found.append(f"{path} {body['event_id']}: status {status} {answer[:200]!r}")
            n_unanswered += len(pending)
            if last:
                service.stop()
                if logged_hash(log, "stopped") != replayed_hash(subject):
                    found.append("the state at the end is not the replayed one")
        finally:
            kill()
        if drop_unsynced:
            n_undone += unsynced.undo(undo_logs)
    found += faults(subject, known)
    return {
        "kills": rounds,
        "acknowledged": {
            "decisions": len(known.decisions),
            "events": len(known.events),
            "labels": len(known.labels),
        },
        "unanswered_and_retried": n_unanswered,
        "unsynced_writes_undone": n_undone,
        "still_unanswered": len(pending),
        "faults": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=5.0, help="load per round; the kill comes in the middle")
    parser.add_argument("--unsynced", action="store_true", help="also undo every write that was not fsynced")
    parser.add_argument("--events", type=int, default=20_000, help="claims in the simulated history")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workspace", type=Path, help="keep the workspace here and reuse it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringfence-durability-") as scratch:
        folder = Path(scratch)
        subject = prepare(options.workspace or folder / "workspace", n_events=options.events, seed=options.seed)
        found = torture(
            subject,
            folder,
            rounds=options.rounds,
            rate=options.rate,
            seconds=options.seconds,
            drop_unsynced=options.unsynced,
            seed=options.seed,
        )
    print(json.dumps(found, indent=2))
    sys.exit(1 if found["faults"] or found["still_unanswered"] else 0)


if __name__ == "__main__":
    main()
