# SPDX-License-Identifier: Apache-2.0
"""`decide --pending` by the command line, and a route that names what is no feature."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.policy import default_policy_text


def test_without_pending_there_is_nothing_to_decide(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["decide", "-w", str(payments)]) == Exit.USAGE
    assert "ringfence decide --pending" in capsys.readouterr().err


def test_without_a_champion_it_says_how_to_get_one(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["decide", "--pending", "-w", str(payments)]) == Exit.BAD_INPUT
    assert "ringfence train" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "code"), [("train", Exit.BAD_INPUT), ("check", Exit.BAD_INPUT)])
def test_a_route_over_what_is_no_feature_is_refused_before_any_work(
    payments: Path, capsys: pytest.CaptureFixture[str], command: str, code: Exit
) -> None:
    route = '\nroute: {realtime: "amunt > 25000", otherwise: batch}\n'
    (payments / "policies").mkdir()
    (payments / "policies" / "payments.yaml").write_text(default_policy_text("card-payments") + route)
    assert run([command, "-w", str(payments)]) == code
    message = capsys.readouterr().err
    assert "policies/payments.yaml: route.realtime: found `amunt`" in message
    assert "amount" in message  # what may have been meant


def test_doctor_finds_the_same(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (payments / "policies").mkdir()
    route = '\nroute: {realtime: "amunt > 25000", otherwise: batch}\n'
    (payments / "policies" / "payments.yaml").write_text(default_policy_text("card-payments") + route)
    run(["doctor", "-w", str(payments), "--json"])
    assert "route.realtime: found `amunt`" in capsys.readouterr().out
