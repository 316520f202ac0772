# SPDX-License-Identifier: Apache-2.0
"""Alert rules and dashboard read what the service tells; every rule fires, and the runbook knows it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from typer.testing import CliRunner

from ringfence.cli.application import app
from ringfence.serving.monitoring import FILES, text_of
from ringfence.serving.service import State
from ringfence.workspace import Workspace

from .conftest import NOW_MS, PATIENT, FakeClock, RunningService, ServiceConfig, claim, copy_of
from .faults import hinder_trees
from .test_ledger_trouble import locked, until

RUNBOOK = Path(__file__).resolve().parents[2] / "docs" / "runbook.md"
RULES: dict[str, Any] = {
    rule["alert"]: rule for group in yaml.safe_load(text_of("alerts.yaml"))["groups"] for rule in group["rules"]
}
UP = Sample("up", {"job": "ringfence", "instance": "127.0.0.1:8473"}, 1.0)  # Prometheus makes it itself
OF = {"scenario": "motor-claims"}


class Case(NamedTuple):
    """How series of the service go on, at intervals of 30 s, where an alert fires, and where it does not."""

    series: dict[str, tuple[str, str]]  # by name, with labels where they matter: values that fire, and that do not
    labels: dict[str, str] = OF  # of the alert


GROWS, STAYS = "0+300x240", "0x240"
CASES = {
    "RingfenceDown": Case({"up": ("0x240", "1x240")}, {"instance": "127.0.0.1:8473"}),
    "RingfenceNotReady": Case({"ringfence_ready": ("0x240", "1x240")}),
    "RingfenceDegraded": Case(
        {"ringfence_degraded_total": ("0+9x240", "0+1x240"), "ringfence_decisions_total": (GROWS, GROWS)}
    ),
    "RingfenceBreakerOpen": Case({"ringfence_breaker_state": ("2x240", "1x240")}),
    "RingfenceSlow": Case(
        {
            'ringfence_decision_seconds_bucket{le="0.025"}': ("0+200x240", GROWS),
            'ringfence_decision_seconds_bucket{le="0.05"}': (GROWS, GROWS),
            'ringfence_decision_seconds_bucket{le="+Inf"}': (GROWS, GROWS),
        }
    ),
    "RingfenceLateAnswers": Case(
        {"ringfence_late_answers_total": ("0+1x240", STAYS), "ringfence_decisions_total": (GROWS, GROWS)}
    ),
    "RingfenceCommitsFail": Case({"ringfence_commit_failures_total": ("0x196 4x40", "7x240")}),
    "RingfenceCommitHangs": Case({"ringfence_commit_lag_seconds": ("0+30x240", "0.5x240")}),
    "RingfenceRecordsWait": Case({"ringfence_records_waiting": ("0+40x240", "0 12 0 0 7 0x235")}),
    "RingfenceQueueFills": Case({"ringfence_queue_depth": ("257x240", "256x240")}),
    "RingfenceRefuses": Case(
        {
            'ringfence_responses_total{status="503"}': ("0+10x240", "0+1x240"),
            'ringfence_responses_total{status="200"}': (GROWS, GROWS),
        },
        {},
    ),
    "RingfenceStrangers": Case({'ringfence_responses_total{status="401"}': ("0+60x240", "0+3x240")}, {}),
    "RingfenceStateDiffers": Case({"ringfence_tick_mismatches_total": ("1x240", STAYS)}),
    "RingfenceFrontDown": Case({"ringfence_front_up": ("0x240", "1x240")}, {}),
    "RingfenceSnapshotsBehind": Case(
        {'ringfence_ledger_lag_records{reader="snapshots"}': ("500001x240", "400000x240")}
    ),
    "RingfenceExplanationsBehind": Case(
        {'ringfence_ledger_lag_records{reader="explanations"}': ("50001x240", "900x240")}
    ),
    "RingfenceForgets": Case({'ringfence_evictions_total{what="entities"}': ("0+20x240", "0+1x240")}),
    "RingfenceSecondLooksWait": Case({"ringfence_second_looks_put_off": ("513x240", "512x240")}),
}


@pytest.fixture(scope="module")
def page(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """What a service told that had a good and a bad day."""
    place = copy_of(template, tmp_path_factory.mktemp("told") / "workspace")
    service = RunningService(place, FakeClock(NOW_MS), ServiceConfig(**PATIENT, machine_price_per_hour=1.0))
    try:
        assert service.ask("POST", "/v1/decisions", claim(1)).status_code == 200
        assert service.ask("POST", "/v1/decisions", claim(1), key=None).status_code == 401

        def fails() -> None:
            raise ZeroDivisionError

        hinder_trees(service, fails)
        assert service.ask("POST", "/v1/decisions", claim(2)).json()["degraded"]
        blocker = locked(service)
        assert service.ask("POST", "/v1/decisions", claim(3)).status_code == 503
        blocker.execute("ROLLBACK")
        blocker.close()
        until(lambda: service.service.state is State.READY)
        text = service.ask("GET", "/metrics", key="read").text
    finally:
        service.stop()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(ringfence_\w+)", expression))


def targets() -> list[str]:
    panels = json.loads(text_of("dashboard.json"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def told_names() -> set[str]:
    """All names that the page may have, those of metrics without a value yet included."""
    from ringfence.serving.telemetry import Telemetry

    found = set()
    for metric in vars(Telemetry()).values():
        if hasattr(metric, "describe"):
            family = metric.describe()[0]
            ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
            found |= {family.name + end for end in ends}
    return found


def test_rules_and_dashboard_read_only_what_the_service_tells(page: list[Sample]) -> None:
    read = set().union(*(names_in(str(rule["expr"])) for rule in RULES.values()))
    assert len(read) > 10
    assert read <= {sample.name for sample in page}
    shown = set().union(*(names_in(expression) for expression in targets()))
    assert shown <= told_names()
    labels = {(sample.name, label) for sample in page for label in sample.labels}
    for expression in [*(str(rule["expr"]) for rule in RULES.values()), *targets()]:
        for name, matchers in re.findall(r"(ringfence_\w+)\{([^}]*)\}", expression):
            if name in {sample.name for sample in page}:
                assert {(name, label) for label in re.findall(r"(\w+)=", matchers)} <= labels


def test_every_alert_has_a_case_and_a_section_and_none_is_left_over() -> None:
    sections = re.findall(r"^## (Ringfence\w+)$", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    assert sections == list(RULES) == list(CASES)
    for name, rule in RULES.items():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")


def sections() -> dict[str, list[str]]:
    parts = re.split(r"^## (Ringfence\w+)$", RUNBOOK.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {
        name: re.findall(r"```\n(.*?)\n```", text, re.DOTALL)[0].splitlines()
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.parametrize("name", list(RULES))
def test_the_first_three_commands_of_a_section_exist(name: str) -> None:
    commands = sections()[name]
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command.partition("|")[0])
        if words[0] == "ringfence":
            found: Any = typer.main.get_command(app)
            rest = words[1:]
            while rest and hasattr(found, "commands"):
                found = found.commands[rest.pop(0)]
            found.make_context(found.name, rest)  # parses the options; runs nothing
        elif words[0] == "curl":
            route = words[-1].removeprefix("http://127.0.0.1:8473")
            assert route in ("/healthz", "/readyz", "/metrics")
            if route == "/metrics":
                wanted = command.split("| grep ")[1]
                assert any(told.startswith(wanted) for told in told_names())
        else:
            assert command == "df -h ."


def test_the_command_writes_the_files_that_ship(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", "monitoring", "--output", str(tmp_path / "m")])
    assert result.exit_code == 0, result.output
    assert {path.name: path.read_text("utf-8") for path in (tmp_path / "m").iterdir()} == {
        name: text_of(name) for name in FILES
    }


def series(page: list[Sample], pattern: str) -> str:
    """Return a series that the service told, in the notation of promtool."""
    name, _, rest = pattern.partition("{")
    wanted = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    sample = next(one for one in [*page, UP] if one.name == name and wanted.items() <= one.labels.items())
    return name + "{" + ",".join(f"{label}={json.dumps(value)}" for label, value in sample.labels.items()) + "}"


def promtool_case(page: list[Sample], name: str, *, fires: bool) -> dict[str, Any]:
    case, rule = CASES[name], RULES[name]
    expected = []
    if fires:
        annotations = {
            key: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: case.labels[found[1]], str(text))
            for key, text in rule["annotations"].items()
        }
        expected = [{"exp_labels": {**case.labels, **rule["labels"]}, "exp_annotations": annotations}]
    return {
        "interval": "30s",
        "input_series": [
            {"series": series(page, pattern), "values": values[0 if fires else 1]}
            for pattern, values in case.series.items()
        ],
        "alert_rule_test": [{"eval_time": "100m", "alertname": name, "exp_alerts": expected}],
    }


@pytest.mark.services
@pytest.mark.parametrize("fires", [True, False], ids=["fires", "stays quiet"])
@pytest.mark.parametrize("name", list(RULES))
def test_an_alert_by_series_that_the_service_told(page: list[Sample], tmp_path: Path, name: str, fires: bool) -> None:
    (tmp_path / "alerts.yaml").write_text(text_of("alerts.yaml"))
    told = promtool_case(page, name, fires=fires)
    case = {"rule_files": ["alerts.yaml"], "evaluation_interval": "30s", "tests": [told]}
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(case))
    result = subprocess.run(
        ["promtool", "test", "rules", "case.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.services
def test_prometheus_accepts_the_rules(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text(text_of("alerts.yaml"))
    result = subprocess.run(
        ["promtool", "check", "rules", "alerts.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(RULES)} rules found" in result.stdout + result.stderr
