# SPDX-License-Identifier: Apache-2.0
"""The command tree, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from ringfence import __version__
from ringfence.cli import (
    check,
    data,
    decide,
    demo,
    doctor,
    drafts,
    entities,
    explain,
    exporting,
    features,
    graphs,
    keys,
    mirroring,
    models,
    monitoring,
    recalibration,
    releases,
    retention,
    rings,
    service,
    shadowing,
    ticks,
    verify,
)
from ringfence.cli.exits import Exit, exit_code
from ringfence.errors import RingfenceError
from ringfence.steps.kernel_cache import use_kernel_cache

app = typer.Typer(
    name="ringfence",
    help="Real-time fraud decisions: from a table of history to live, durable, explained decisions.",
    epilog="Every command takes --debug, which shows the traceback of an error. Exit codes: docs/reference/cli.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

app.command("init")(drafts.init)
app.command("check")(check.check)
app.command("import")(data.import_history)
app.command("train")(models.train)
app.command("score")(models.score)
app.command("features")(features.features)
app.command("ticks")(ticks.ticks)
app.command("evaluate")(models.evaluate)
releases.app.command("recalibrate")(recalibration.recalibrate)
releases.app.command("export")(exporting.export)
releases.app.command("mirror")(mirroring.mirror)
releases.app.command("shadow")(shadowing.shadow)
app.add_typer(releases.app, name="release")
app.command("explain")(explain.explain)
graphs.app.command("monitoring")(monitoring.monitoring)
app.add_typer(graphs.app, name="export")
app.add_typer(entities.app, name="entity")
app.command("retain")(retention.retain)
app.command("rings")(rings.rings)
app.command("decide")(decide.decide)
app.command("serve")(service.serve)
app.add_typer(keys.app, name="keys")
app.command("simulate")(data.simulate)
app.add_typer(verify.app, name="verify")
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ringfence {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    pass


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code. Errors become one message on stderr."""
    debug = "--debug" in arguments
    try:
        app(args=[argument for argument in arguments if argument != "--debug"], prog_name="ringfence")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(bool(ending.code))
    except (RingfenceError, OSError, KeyboardInterrupt) as error:
        if debug:
            raise
        typer.echo(f"ringfence: {error or 'interrupted'}", err=True)
        return exit_code(error)
    except BaseException as error:  # a panic within a library of ours is no Exception
        if debug:
            raise
        typer.echo(
            f"ringfence: internal error, {type(error).__name__}: {error}\n"
            "This is a fault in ringfence: run the same command with --debug and report what it prints.",
            err=True,
        )
        return Exit.INTERNAL
    return Exit.OK


def main() -> NoReturn:
    """The `ringfence` command."""
    # OpenMP reads this when LightGBM loads it. Threads that spin while they wait make training on shared cores five
    # times slower (100 trees on two busy cores: 12.3 s spinning, 2.5 s waiting).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    use_kernel_cache(os.environ)
    sys.exit(run(sys.argv[1:]))
