# SPDX-License-Identifier: Apache-2.0
"""`release export`: a release for foreign runtimes."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption
from ringfence.cli.releases import ReleaseArgument
from ringfence.cli.terminal import remark, show


class Format(Enum):
    """How a release is written."""

    ONNX = "onnx"


def export(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A folder that does not exist yet.")],
    release: ReleaseArgument = "champion",
    form: Annotated[Format, typer.Option("--format", help="Models as ONNX, all else as JSON.")] = Format.ONNX,
    events: Annotated[int, typer.Option(min=1, help="Last decided events that become golden vectors.")] = 100,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a release for foreign runtimes: models, encoder, stack, calibrators, features and golden vectors.

    The folder holds a README and a page of Python that scores with NumPy and ONNX Runtime alone; it is run on the
    golden vectors before the folder is there, and has to reproduce them to 1e-5. What cannot be exported is named.
    """
    from ringfence.ledger.ledger import Ledger
    from ringfence.rollout.registry import Registry
    from ringfence.steps.chosen import open_release
    from ringfence.training.onnx_export import export_onnx
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    ledger = Ledger.open(here.ledger_dir(spec), spec)
    found = open_release(here, Registry.read(ledger), release, spec.name)
    made = export_onnx(ledger, found, output.resolve(), n_events=events)
    for name, why in made.left_out.items():
        remark(f"left out: {name}; {why}")
    if "full" not in made.rungs:
        remark("warning: the score counts on what was left out, so the folder holds the rung gbdt alone")
    apart = max(one for rung in made.differences.values() for one in rung.values())
    show(
        {"release": found.id, "format": form.value, **made._asdict(), "folder": str(made.folder)},
        as_json=as_json,
        text=f"{found.id} as ONNX in {made.folder}: rungs {', '.join(made.rungs)}; {made.n_golden:,} golden vectors "
        f"are reproduced to {apart:.1e}\nread {made.folder / 'README.md'}",
    )
