# SPDX-License-Identifier: Apache-2.0
"""The files that stand beside a drafted scenario: a policy to fill in, and stubs of its card and its risks."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from ringfence.drafting.draft import Draft
from ringfence.drafting.writing import yaml_of
from ringfence.scenario.document import document_from_text
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.workspace import template_file

_LICENCE: Final = "# SPDX-License-Identifier: Apache-2.0\n"
_WITH_AMOUNT: Final = ("amount_share: 1.0, fixed: 0", "fixed: 20, amount_share: 0.05")
_WITHOUT: Final = ("fixed: 100, amount_share: 0", "fixed: 20, amount_share: 0")


def workspace_files(draft: Draft, directory: Path) -> dict[str, str]:
    """All files of the workspace of a draft, by path within `directory`; its scenario file is one that loads.

    Raises
    ------
    ScenarioFileError
        If what was drafted does not load, which would be a fault of the draft.
    """
    text = yaml_of(draft, directory=directory)
    where = str(directory / "ringfence.yaml")
    scenario = document_from_text(text, where=where)["scenarios"][draft.name]
    scenario_from_mapping(draft.name, scenario, where=where)
    template = None if draft.business is None else draft.business.template
    return {
        "ringfence.yaml": text,
        f"policies/{draft.name}.yaml": _policy(draft),
        **{
            name: _stub(name) if template is None else template_file(template, name) for name in ("CARD.md", "RISKS.md")
        },
    }


def _policy(draft: Draft) -> str:
    currency = draft.currency or "EUR"
    said = f"currency: {currency}" + ("\n  digits: 0" if currency in ("JPY", "KRW") else "")
    if draft.business is not None and draft.amount is not None:
        template = draft.business.template
        return template_file(template, f"policies/{template}.yaml").replace("currency: EUR", said)
    missed, decline = _WITHOUT if draft.amount is None else _WITH_AMOUNT
    text = _stub("policy.yaml").replace("currency: EUR", said)
    return text.replace("MISSED", missed).replace("DECLINE", decline)


def _stub(name: str) -> str:
    return (files("ringfence.drafting") / "stubs" / name).read_text(encoding="utf-8").removeprefix(_LICENCE)
