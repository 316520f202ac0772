# SPDX-License-Identifier: Apache-2.0
"""A template is a scenario that loads, and never costs anybody a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ringfence.scenario.errors import UnknownTemplateError, WorkspaceExistsError
from ringfence.scenario.load import load_scenarios
from ringfence.scenario.workspace import init_workspace, template_names


@pytest.mark.parametrize("template", template_names())
def test_template_loads_as_a_scenario_of_its_name(tmp_path: Path, template: str) -> None:
    written = init_workspace(tmp_path / "new", template)
    assert all(file.is_file() for file in written)
    scenarios = load_scenarios(tmp_path / "new" / "ringfence.yaml")
    assert list(scenarios) == [template]
    assert scenarios[template].decided.label is not None
    policy = yaml.safe_load((tmp_path / "new" / "policies" / f"{template}.yaml").read_text(encoding="utf-8"))
    amount = scenarios[template].decided.amount
    assert amount is None or policy["costs"]["currency"] == amount.currency
    assert {"CARD.md", "RISKS.md"} <= {file.name for file in written}
    assert not any("SPDX" in file.read_text(encoding="utf-8") for file in written)
    assert (tmp_path / "new" / "rules").is_dir()
    assert (tmp_path / "new" / "lists").is_dir()


def test_every_template_is_there() -> None:
    assert template_names() == (
        "account-transfers", "card-payments", "credit-applications", "motor-claims", "signups", "subscriptions",
    )  # fmt: skip


def test_init_overwrites_nothing_and_writes_nothing_when_a_file_is_there(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    mine = tmp_path / "policies" / "motor-claims.yaml"
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(WorkspaceExistsError, match=r"policies/motor-claims\.yaml already there") as refusal:
        init_workspace(tmp_path, "motor-claims")
    assert refusal.value.files == (mine,)
    assert mine.read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "ringfence.yaml").exists()


def test_init_into_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(WorkspaceExistsError):
        init_workspace(file, "motor-claims")


def test_unknown_template_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UnknownTemplateError, match="did you mean 'motor-claims'"):
        init_workspace(tmp_path, "motor-claim")
