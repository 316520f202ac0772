# SPDX-License-Identifier: Apache-2.0
"""The files that stand beside a drafted scenario: a policy to fill in, and stubs of its card and its risks."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np

from ringfence.drafting.draft import DAY_MS, Draft
from ringfence.drafting.writing import yaml_of
from ringfence.scenario.document import document_from_text
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.workspace import template_file

_LICENCE: Final = "# SPDX-License-Identifier: Apache-2.0\n"
_WITH_AMOUNT: Final = ("amount_share: 1.0, fixed: 0", "fixed: 20, amount_share: 0.05")
_WITHOUT: Final = ("fixed: 100, amount_share: 0", "fixed: 20, amount_share: 0")

_REVIEWS: Final = re.compile(r"^(?P<key> +reviews_per_day: )(?P<usual>[0-9]+) .*$", re.MULTILINE)
_REVIEWED: Final = 0.02  # of the events: a placeholder, as the costs are
_COMMENT: Final = 54  # column of the comments in policy files


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
    return _REVIEWS.sub(lambda found: _reviews(draft, found), _costs(draft), count=1)


def _reviews(draft: Draft, found: re.Match[str]) -> str:
    """The line on how many reviews people have time for, scaled to the table, with why; a guess in any case."""
    daily = _daily(draft)
    if daily is None:
        why, usual = "CHECK how many your people have time for in 86,400 rows, a day here", found["usual"]
    else:
        usual = str(max(round(_REVIEWED * daily), 1))
        rate = f"{daily:,.0f}" if daily >= 1.0 else f"{daily:.2g}"
        why = f"CHECK: {100 * _REVIEWED:g} % of the {rate} rows a day, rounded, at least 1"
    return f"{found['key']}{usual}".ljust(_COMMENT) + f"# {why}; 0: no reviews"


def _daily(draft: Draft) -> float | None:
    """Rows a day over the days that the main table spans; None where no column says when."""
    if draft.clock is None:
        return None
    times_ms = draft.clock.column.values
    given = times_ms[~np.isnan(times_ms)]
    if not given.size:
        return None
    return draft.main.table.n_rows / max((float(given.max()) - float(given.min())) / DAY_MS, 1.0)


def _costs(draft: Draft) -> str:
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
