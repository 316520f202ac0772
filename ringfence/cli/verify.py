# SPDX-License-Identifier: Apache-2.0
"""`verify parity | leakage | state | audit | decision`: prove it."""

from __future__ import annotations

from typing import Annotated

import typer

from ringfence.cli.exits import Exit
from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption
from ringfence.cli.terminal import progress, show

app = typer.Typer(
    help="Prove parity, no leakage, state, audit chain and decisions. Exit code 1: it does not hold.",
    no_args_is_help=True,
)


@app.command()
def parity(
    events: Annotated[int, typer.Option(min=1, help="Decided events to compare, the oldest of the ledger.")] = 20_000,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare feature rows observed one by one with rows replayed in bulk, byte by byte.

    In the middle of the records compared the one-by-one engine is written to a snapshot and restored.
    """
    from ringfence.cli.proofs import live_catalogue, parity_proof
    from ringfence.engine.catalogue import Catalogue
    from ringfence.ledger.ledger import Ledger
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    ledger = Ledger.open(here.ledger_dir(spec), spec)
    with progress("comparing", unit="events") as report_progress:
        # What serving reads, of the scenario as it stands in ringfence.yaml.
        catalogue = Catalogue.build(spec, neighbourhoods=live_catalogue(here, spec)[1].neighbourhoods)
        proof = parity_proof(ledger, catalogue, n_events=events, progress=report_progress)
    beside = "" if proof.neighbourhoods is None else " and their neighbourhoods"
    if proof.holds:
        text = (
            f"parity holds: the oldest {proof.n_rows:,} rows of {proof.n_features} features{beside} over "
            f"{proof.n_records:,} records are equal byte for byte, observed one by one and replayed in bulk, with a "
            f"snapshot and restore at seq {proof.restored_at_seq:,}; both end in state {proof.state_replayed}"
        )
    elif proof.n_rows == 0:
        text = "nothing to compare: the ledger holds no event of the decided type"
    else:
        text = (
            f"parity does NOT hold: {proof.n_different_rows:,} of {proof.n_rows:,} rows differ, the first at seq "
            f"{proof.first_different_seq} in {', '.join(proof.different_features[:10])}; "
            f"states {proof.state_one_by_one} and {proof.state_replayed}"
        )
    _conclude({"holds": proof.holds, "proof": proof}, holds=proof.holds, as_json=as_json, text=text)


@app.command()
def leakage(
    events: Annotated[int, typer.Option(min=1, help="Decided events to sample, drawn over the whole ledger.")] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sample neighbourhoods in a replay and check that none shows an event or a label that was not known by then.

    The same is done with every label told right after its event: that cheat must be caught.
    """
    from ringfence.cli.leakage_proof import leakage_proof
    from ringfence.ledger.ledger import Ledger
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    ledger = Ledger.open(here.ledger_dir(spec), spec)
    with progress("sampling", unit="records") as report_progress:
        proof = leakage_proof(ledger, spec, n_events=events, seed=seed, progress=report_progress)
    honest, cheat = proof.honest, proof.look_ahead
    if honest.n_links == 0:
        text = "nothing to check: no sampled event has an earlier one"
    else:
        text = (
            f"{honest.n_violations:,} violations in {honest.n_links:,} sampled links of {honest.n_events:,} events, "
            f"{honest.n_labelled:,} of them with a label known by then, and {honest.n_seats:,} seats"
            + (f"; the first at seq {honest.first_seq}" if honest.n_violations else "")
            + f"\nwith labels told at event time the same guard counts {cheat.n_violations:,}"
            + ("" if proof.n_labels else ": the ledger holds no label")
        )
    shown = {"holds": proof.holds, "n_violations": honest.n_violations, "proof": proof}
    _conclude(shown, holds=proof.holds, as_json=as_json, text=text)


@app.command()
def state(workspace: WorkspaceOption = HERE, scenario: ScenarioOption = None, as_json: JsonOption = False) -> None:
    """Compare state recovered from the newest snapshot with a fresh replay of the whole ledger.

    Without a snapshot two replays are compared, one in large batches and one in small ones, and the result says so.
    Ticks of rings that the service put on record must come out of the replay with the same digest. A snapshot that
    recovery refuses is named with the reason; it costs a longer replay, and no state.
    """
    from ringfence.cli.proofs import state_proof
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    with progress("replaying", unit="records") as report_progress:
        proof = state_proof(here, here.scenario(scenario), report_progress)
    if proof.snapshot_seq is None:
        compared = "there is no snapshot to recover from; two replays, in small and in large batches,"
    else:
        compared = f"the snapshot at seq {proof.snapshot_seq:,} and a fresh replay"
    if proof.seq == 0:
        text = "nothing to compare: the ledger is empty"
    elif proof.recovered == proof.replayed:
        text = f"{compared} give the same state at seq {proof.seq:,}: {proof.recovered}"
    else:
        text = f"{compared} give DIFFERENT states at seq {proof.seq:,}: {proof.recovered} and {proof.replayed}"
    text += f"\nbuilt from {proof.release or 'ringfence.yaml, as no release is live'}: {proof.n_features} features"
    if proof.refused:
        text = "\n".join([text, *proof.refused])
    if proof.wrong_ticks:
        text = "\n".join([text, *proof.wrong_ticks])
    elif proof.n_ticks:
        text += f"\nticks of rings on record, equal in the replay: {proof.n_ticks:,}"
    _conclude({"holds": proof.holds, "proof": proof}, holds=proof.holds, as_json=as_json, text=text)


@app.command()
def audit(workspace: WorkspaceOption = HERE, scenario: ScenarioOption = None, as_json: JsonOption = False) -> None:
    """Walk the ledger's hash chain and the digests of its files: nothing was changed, removed or put in.

    The same for the record of who made, rotated and revoked keys; and keys.txt holds what the last of these acts left.
    """
    from ringfence.ledger.acts import audit_acts
    from ringfence.ledger.audit import audit_ledger
    from ringfence.ledger.ledger import Ledger
    from ringfence.serving.keys import entries_by_name
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    with progress("walking the chain", unit="records") as report_progress:
        report = audit_ledger(Ledger.open(here.ledger_dir(spec), spec), report_progress)
    acts = audit_acts(here.acts_path, entries_by_name(here.keys_path))
    holds = report.holds and acts.holds
    shown = {"holds": holds, "report": report, "acts": acts}
    _conclude(shown, holds=holds, as_json=as_json, text=f"{report.text}\n{acts.text}")


@app.command()
def decision(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Decision ids such as d-1042; default: the newest.")
    ] = None,
    newest: Annotated[int, typer.Option(min=1, help="Without ids: how many of the newest decisions.")] = 100,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make decisions again from the ledger and compare: features byte for byte, scores to 1e-6, the same action.

    A decision of a lower rung is made again on that rung. Where a review was requested because the full score would
    have acted otherwise, that is made again too, and so is what a shadow would have done otherwise.
    """
    from ringfence.cli.proofs import decision_proofs, disagreement_proofs
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    with progress("replaying", unit="records") as report_progress:
        spec = here.scenario(scenario)
        proofs = decision_proofs(here, spec, ids or [], newest=newest, progress=report_progress)
        made = [proof.decision_id for proof in proofs]
        disagreements = disagreement_proofs(here, spec, made, progress=report_progress)
    wrong = [proof for proof in proofs if not proof.holds]
    lines = [
        f"{proof.decision_id} ({proof.event_id}): NOT reproduced: features "
        f"{'equal' if proof.same_features else 'differ'}, score {proof.score} and {proof.score_again}, "
        f"action {proof.action} and {proof.action_again}"
        + (f", full action {proof.review} and {proof.review_again}" if proof.review != proof.review_again else "")
        for proof in wrong
    ]
    if not proofs:
        lines.append("no decision to make again")
    elif len(proofs) == 1 and not wrong:
        lines.append(f"{proofs[0].decision_id} reproduced: {proofs[0].action} at score {proofs[0].score:.6f}")
    else:
        lines.append(
            f"{len(proofs) - len(wrong):,} of {len(proofs):,} decisions reproduced: equal features, score and action"
        )
    others = [proof for proof in disagreements if not proof.holds]
    lines += [
        f"{proof.decision_id} ({proof.event_id}): the shadow {proof.shadow} NOT reproduced: score {proof.score} and "
        f"{proof.score_again}, action {proof.action} and {proof.action_again}"
        for proof in others
    ]
    if disagreements:
        n = len(disagreements)
        lines.append(f"{n - len(others):,} of {n:,} disagreements of a shadow reproduced: equal score and action")
    holds = bool(proofs) and not wrong and not others
    shown = {"holds": holds, "decisions": proofs, "disagreements": disagreements}
    _conclude(shown, holds=holds, as_json=as_json, text="\n".join(lines))


def _conclude(result: object, *, holds: bool, as_json: bool, text: str) -> None:
    show(result, as_json=as_json, text=text)
    if not holds:
        raise typer.Exit(Exit.CHECK_FAILED)
