# SPDX-License-Identifier: Apache-2.0
"""Release bundles: everything that turns a feature row into an answer, in one immutable, content-addressed folder.

    releases/r-0123456789ab/
      manifest.json   what it is made from, and the digest of every other file
      scenario.json   the spec its features are computed by
      lookup-….parquet  lookup-….csv   the tables that its derived values are looked up in, if any
      segments.json   the centres of its segments by k-means, if it has any
      encoder.json  gbdt.txt  trees.npz  stack.json  calibrator.json  calibrator-gbdt.json
      policy.json  reasons.json   what answers
      calibrator-rules.json   where there are rules: they answer when no model can
      anomaly.npz  brought-….bin …   a file for each branch beside the trees (`models.branches`)
      metrics.json  card.md  report.html   what was measured

The id is a hash of what answers, and of the data, seeds and versions it came from: training twice on the same ledger
gives the same id. What was measured is digested too, but does not name the release. No clock is read.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from functools import cached_property
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

from ringfence import __version__
from ringfence.engine.catalogue import Catalogue
from ringfence.models.branch import Branch, Need
from ringfence.models.branches import RULES, stored_among, stored_as
from ringfence.models.calibration import Calibrator
from ringfence.models.encoder import Encoder
from ringfence.models.ensemble import Ensemble
from ringfence.models.errors import ModelError
from ringfence.models.gbdt import Gbdt
from ringfence.models.rules import RulesModel
from ringfence.models.segmentation import Segmentation
from ringfence.models.stack import Stack
from ringfence.models.walker import TreeWalker
from ringfence.policy.policy import Policy
from ringfence.scenario.derived import Lookup
from ringfence.scenario.lookup_files import Lookups, prepare_lookups
from ringfence.scenario.spec import Scenario
from ringfence.scoring.bundle_file import digest_of, read_file
from ringfence.scoring.errors import ReleaseDamagedError, ReleaseMismatchError, ReleaseNotFoundError
from ringfence.scoring.reasons import ReasonBook, feature_texts
from ringfence.scoring.sentences import FeatureText

FORMAT: Final = 2
READABLE: Final = (1, FORMAT)  # 1: trees alone, without stack.json and calibrator-gbdt.json
MANIFEST: Final = "manifest.json"
ANSWERS: Final = (
    "scenario.json",
    "encoder.json",
    "gbdt.txt",
    "trees.npz",
    "stack.json",
    "calibrator.json",
    "calibrator-gbdt.json",
    "policy.json",
    "reasons.json",
)
BY_RULES: Final = "calibrator-rules.json"
OF_TREES: Final = ("gbdt.txt", "trees.npz", "calibrator-gbdt.json")  # not in a release that was made without labels
# What a release can be loaded without, beside its branches.
TREES: Final = ("gbdt.txt", "trees.npz")
_SINCE_2: Final = ("stack.json", "calibrator-gbdt.json")
MEASURED: Final = ("metrics.json", "card.md", "report.html")
LOOKUP: Final = "lookup-"
SEGMENTS: Final = "segments.json"
UNNAMED: Final = "r-unnamed"  # stands in metrics, card and report for the id, which is known when they are written
_LIBRARIES: Final = ("lightgbm", "numba", "numpy")


class FollowedWeights(msgspec.Struct, frozen=True, kw_only=True):
    """Of a release whose stack was told to follow later labels, now or in a release before it: weights by member."""

    trained: dict[str, float]  # by the training that made its models; what bounds all later ones
    before: dict[str, float]  # of the release that it was calibrated anew from
    now: dict[str, float]


class Calibrated(msgspec.Struct, frozen=True, kw_only=True):
    """Of a release with the models of another: what its calibration was made from."""

    release: str  # whose models these are, and whose calibration they had
    digest: str
    models_until_ms: int  # nothing known later was used for the models
    after_ms: int  # labels known after it, and no later than `Made.until_ms`
    n: int
    n_fraud: int
    data_digest: str
    weights: FollowedWeights | None = None  # None: the stack is as training fitted it, and nobody asked for more


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a release was made from."""

    data_digest: str  # of the training examples: rows and labels
    examples_from_ms: int | None  # inclusive; None: from the first event
    until_ms: int  # nothing known later was used
    until_seq: int
    n_examples: int
    n_fraud: int
    seed: int
    n_seeds: int = 1
    n_trees: int = 0
    settings: dict[str, Any] = {}  # hyperparameters and folds
    assumed_rate: float | None = None  # of fraud, as somebody said; None: labels were known, and learnt from
    calibrated: Calibrated | None = None  # None: calibrated in the training that made its models

    @property
    def models_until_ms(self) -> int:
        """Nothing known later was used for the models; earlier than `until_ms` where they were calibrated anew."""
        return self.until_ms if self.calibrated is None else self.calibrated.models_until_ms


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    id: str
    scenario: str
    spec_hash: str
    policy: str  # Policy.version
    made: Made
    versions: dict[str, str]  # of ringfence, Python, libraries and platform
    files: dict[str, str]  # file name -> blake2b-16 hex
    headline: dict[str, Any] = {}  # the figures worth reading first
    neighbourhoods: int | None = None  # events of a seat that are sampled for its branches; None: none reads them


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What `write_release` puts into a bundle."""

    scenario: Scenario
    ensemble: Ensemble
    calibrator: Calibrator
    gbdt_calibrator: Calibrator  # of the trees alone
    policy: Policy
    made: Made
    rules_calibrator: Calibrator | None = None  # of the rules alone
    metrics: dict[str, Any] = {}
    headline: dict[str, Any] = {}
    card: str = ""
    report: str = ""
    lookup_files: dict[str, bytes] = {}  # by the name that the scenario gives them
    segmentation: Segmentation | None = None
    neighbourhoods: int | None = None  # events of a seat, where a branch reads them


class Release:
    """A bundle that was read and verified.

    Attributes
    ----------
    broken : branches whose files are absent or changed, and what is wrong; empty unless `load_release` was told to go
        on without them.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        digest: str,
        answers: dict[str, bytes],
        branches: dict[str, Branch],
        broken: dict[str, ReleaseDamagedError],
    ) -> None:
        self.path = path
        self.broken = broken
        self.manifest = manifest
        self.digest = digest  # of the manifest, hence of every file: what the ledger records
        self.scenario = msgspec.json.decode(answers["scenario.json"], type=Scenario)
        self.encoder = Encoder.from_json(answers["encoder.json"])
        self.stack = Stack.from_json(answers["stack.json"]) if "stack.json" in answers else Stack()
        self._gbdt = (
            Gbdt.of(answers["gbdt.txt"].decode(), TreeWalker.from_bytes(answers["trees.npz"]))
            if "gbdt" not in broken and "gbdt.txt" in answers
            else None
        )
        self._branches = branches
        self.rules_calibrator = Calibrator.from_json(answers[BY_RULES]) if RULES in branches else None
        self.calibrator = Calibrator.from_json(answers["calibrator.json"])
        self.gbdt_calibrator = Calibrator.from_json(answers.get("calibrator-gbdt.json", answers["calibrator.json"]))
        self.policy = Policy.from_json(answers["policy.json"])
        self.features = msgspec.json.decode(answers["reasons.json"], type=tuple[FeatureText, ...])
        self.segmentation = Segmentation.from_json(answers[SEGMENTS]) if SEGMENTS in answers else None

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def spec_hash(self) -> str:
        return self.manifest.spec_hash

    @cached_property
    def catalogue(self) -> Catalogue:
        """What replays and serves it: its features, and neighbourhoods where a branch of it reads them.

        The same where that branch is broken: state, ticks and kept rows are those of the release, whatever answers.
        """
        return Catalogue.build(self.scenario, neighbourhoods=self.manifest.neighbourhoods)

    @cached_property
    def ensemble(self) -> Ensemble:
        """The branches that are there, with the stack that was fitted.

        Raises
        ------
        ReleaseDamagedError
            If the trees are broken, without which no branch answers.
        """
        if "gbdt" in self.broken:
            raise self.broken["gbdt"]
        return Ensemble(encoder=self.encoder, gbdt=self._gbdt, branches=self._branches, stack=self.stack)

    @property
    def has_trees(self) -> bool:
        """Whether trees were fitted, be their files broken or not; False: it was made without labels."""
        return self.manifest.made.assumed_rate is None

    @property
    def trained_weights(self) -> dict[str, float]:
        """The stack's weights by member as the training that made the models fitted them, whatever moved them since."""
        calibrated = self.manifest.made.calibrated
        if calibrated is not None and calibrated.weights is not None:
            return dict(calibrated.weights.trained)
        return dict(zip(self.stack.members, self.stack.weights, strict=True))

    @property
    def rules(self) -> tuple[RulesModel, Calibrator] | None:
        """The rules and the calibrator of their points, which answer without any model; None where there are none."""
        rules = self._branches.get(RULES)
        if self.rules_calibrator is None or not isinstance(rules, RulesModel):
            return None
        return rules, self.rules_calibrator

    @cached_property
    def reason_book(self) -> ReasonBook:
        roles = tuple(role.role for role in self.scenario.decided.roles)
        return ReasonBook(self.features, roles=roles, currency=self.policy.costs.currency)

    def lookups(self) -> Lookups:
        """Prepare the tables that derived values are looked up in, from the bundle's own copies.

        Raises
        ------
        ReleaseDamagedError
            If a copy changed since the bundle was loaded.
        """
        files: dict[str, bytes] = {}
        for lookup in self.scenario.lookups.values():
            if lookup.file not in files:
                files[lookup.file] = read_file(self.path, lookup_name(lookup), self.manifest.files)
        return prepare_lookups(self.scenario, files)

    def file(self, name: str) -> bytes:
        """Read a file of the bundle, or its manifest, as it was written.

        Raises
        ------
        ReleaseDamagedError
            If it changed since the bundle was loaded, or is none of it.
        """
        return read_file(self.path, name, {**self.manifest.files, MANIFEST: self.digest})

    @property
    def card(self) -> str:
        return (self.path / "card.md").read_text(encoding="utf-8")

    @property
    def metrics(self) -> dict[str, Any]:
        return msgspec.json.decode((self.path / "metrics.json").read_bytes(), type=dict[str, Any])


def write_release(releases_dir: Path, contents: Contents) -> Release:
    """Write a bundle and read it back; where the same release exists already, that one is kept and returned.

    Raises
    ------
    ReleaseMismatchError
        Where model, encoder and catalogue differ in width, policy and scenario in currency, or a lookup file is not the
        one that the scenario was read with.
    """
    catalogue = Catalogue.build(contents.scenario, neighbourhoods=contents.neighbourhoods)
    _check(contents, len(catalogue.features))
    ensemble = contents.ensemble
    files = {
        "scenario.json": _json(contents.scenario),
        "encoder.json": ensemble.encoder.to_json(),
        "stack.json": ensemble.stack.to_json(),
        "calibrator.json": contents.calibrator.to_json(),
        "policy.json": contents.policy.to_json(),
        "reasons.json": _json(feature_texts(catalogue.features)),
        "metrics.json": _json(contents.metrics),
        "card.md": contents.card.encode(),
        "report.html": contents.report.encode(),
    }
    if ensemble.gbdt is not None:
        files["gbdt.txt"] = ensemble.gbdt.text.encode()
        files["trees.npz"] = ensemble.gbdt.walker.to_bytes()
        files["calibrator-gbdt.json"] = contents.gbdt_calibrator.to_json()
    optional = _tables(contents)
    if contents.segmentation is not None:
        optional[SEGMENTS] = contents.segmentation.to_json()
    optional |= {stored_as(name).file: branch.to_bytes() for name, branch in ensemble.branches.items()}
    if contents.rules_calibrator is not None:
        optional[BY_RULES] = contents.rules_calibrator.to_json()
    files |= optional
    answering = {name: digest_of(files[name]) for name in (*ANSWERS, *sorted(optional)) if name in files}
    named = {
        "files": answering,
        "spec_hash": catalogue.spec_hash,
        "made": contents.made,
        "versions": _versions(),
    }
    identity = f"r-{blake2b(_json(named), digest_size=6).hexdigest()}"
    files |= {name: files[name].replace(UNNAMED.encode(), identity.encode()) for name in MEASURED}
    digests = {name: digest_of(data) for name, data in files.items()}
    manifest = Manifest(
        format=FORMAT,
        id=identity,
        scenario=contents.scenario.name,
        spec_hash=catalogue.spec_hash,
        policy=contents.policy.version,
        made=contents.made,
        versions=_versions(),
        files=digests,
        headline=contents.headline,
        neighbourhoods=contents.neighbourhoods,
    )
    path = releases_dir / manifest.id
    if not path.exists():
        _write_folder(path, {**files, MANIFEST: _json(manifest)})
    return load_release(path)


def load_release(path: Path, *, without: Callable[[ReleaseDamagedError], None] | None = None) -> Release:
    """Read a bundle and verify every digest in it.

    Parameters
    ----------
    without : called for each branch whose files are absent or changed; the release is loaded without it, and a lower
        rung answers. None: that is an error as well.

    Raises
    ------
    ReleaseNotFoundError
        Where there is no manifest.
    ReleaseDamagedError
        Where a file is absent, changed, or of a later format.
    """
    try:
        data = (path / MANIFEST).read_bytes()
    except OSError as error:
        raise ReleaseNotFoundError(str(path)) from error
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise ReleaseDamagedError(str(path), MANIFEST, str(error)) from error
    if manifest.format not in READABLE:
        raise ReleaseDamagedError(str(path), MANIFEST, f"format {manifest.format}, this ringfence reads {READABLE}")
    if manifest.id != path.name:
        raise ReleaseDamagedError(str(path), MANIFEST, f"it says it is {manifest.id}")
    needed = ANSWERS if manifest.format == FORMAT else tuple(name for name in ANSWERS if name not in _SINCE_2)
    if manifest.made.assumed_rate is not None:
        needed = tuple(name for name in needed if name not in OF_TREES)
    branch_of = {stored.file: name for name, stored in stored_among(manifest.files).items()}
    optional = tuple(name for name in (SEGMENTS, *branch_of, BY_RULES) if name in manifest.files)
    branch_of |= {**dict.fromkeys(TREES, "gbdt"), BY_RULES: RULES}
    answers: dict[str, bytes] = {}
    broken: dict[str, ReleaseDamagedError] = {}
    for name in (*needed, *optional):
        try:
            answers[name] = read_file(path, name, manifest.files)
        except ReleaseDamagedError as error:
            if without is None or name not in branch_of:
                raise
            if branch_of[name] not in broken:
                without(error)
            broken.setdefault(branch_of[name], error)
    branches: dict[str, Branch] = {}
    for name, stored in stored_among(answers).items():
        if name in broken:
            continue
        try:
            branches[name] = stored.read(answers[stored.file])
        except ModelError as error:  # such as a network that this machine has no runtime for
            damaged = ReleaseDamagedError(str(path), stored.file, str(error))
            if without is None:
                raise damaged from error
            without(damaged)
            broken[name] = damaged
    for name in (*MEASURED, *(name for name in manifest.files if name.startswith(LOOKUP))):
        read_file(path, name, manifest.files)
    return Release(path, manifest, digest_of(data), answers, branches, broken)


def lookup_name(lookup: Lookup) -> str:
    """The name of a lookup file's copy in a bundle: its content, and whether it is Parquet, CSV or TSV."""
    return f"{LOOKUP}{lookup.digest[:12]}{PurePosixPath(lookup.file).suffix.lower()}"


def _tables(contents: Contents) -> dict[str, bytes]:
    tables: dict[str, bytes] = {}
    for where, lookup in contents.scenario.lookups.items():
        data = contents.lookup_files.get(lookup.file, b"")
        if digest_of(data) != lookup.digest:
            raise ReleaseMismatchError(
                f"the lookup file of {where}", digest_of(data), lookup.digest, f"hand over {lookup.file} as it was read"
            )
        tables[lookup_name(lookup)] = data
    return tables


def _check(contents: Contents, n_features: int) -> None:
    ensemble = contents.ensemble
    widths = {"the encoder": ensemble.encoder.n_features}
    if ensemble.gbdt is not None:
        widths["the trees"] = ensemble.gbdt.walker.n_features
    for name, branch in ensemble.branches.items():
        if branch.n_features is not None:
            widths[stored_as(name).title] = branch.n_features
    if contents.segmentation is not None:
        widths["the segments"] = contents.segmentation.n_features
    if Need.NEIGHBOURHOODS in ensemble.needs and contents.neighbourhoods is None:
        raise ReleaseMismatchError(
            "neighbourhoods", "none", "those that a branch reads", "say how many events of a seat it was trained on"
        )
    for what, width in widths.items():
        if width != n_features:
            raise ReleaseMismatchError(
                f"columns of {what}", str(width), str(n_features), "train on rows of this scenario's catalogue"
            )
    amount = contents.scenario.decided.amount
    costs = contents.policy.costs
    if amount is not None and (amount.currency, amount.digits) != (costs.currency, costs.digits):
        raise ReleaseMismatchError(
            f"money in the policy of {contents.scenario.name}",
            f"{costs.currency} with {costs.digits} digits",
            f"{amount.currency} with {amount.digits}, as in ringfence.yaml",
            "set costs.currency and costs.digits in the policy file",
        )


def _write_folder(path: Path, files: dict[str, bytes]) -> None:
    # Beside its place first, then one rename: a reader sees a whole bundle or none.
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, data in files.items():
        with (beside / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        (beside / name).chmod(0o444)
    try:
        beside.rename(path)
    except OSError:
        if not path.exists():  # else another process wrote the same release first
            raise
        shutil.rmtree(beside, ignore_errors=True)
        return
    for folder in (path, path.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _versions() -> dict[str, str]:
    return {
        "ringfence": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        **{library: version(library) for library in _LIBRARIES},
    }


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1)
