# SPDX-License-Identifier: Apache-2.0
"""What can go wrong while fitting, storing or reading a model."""

from __future__ import annotations

from ringfence.errors import RingfenceError


class ModelError(RingfenceError):
    """Anything a model refuses to do."""


class ModelShapeError(ModelError):
    """Arrays that do not belong together, or that do not belong to this model."""


class UnsupportedModelError(ModelError):
    """A LightGBM model with a part that the tree walker does not reproduce."""

    def __init__(self, found: str, do: str) -> None:
        super().__init__(f"LightGBM model: found {found}; {do}")
        self.found = found
        self.do = do


class TooFewDistinctError(ModelError):
    """Segments by k-means of rows that do not differ enough."""

    def __init__(self, k: int, n_distinct: int, names: tuple[str, ...]) -> None:
        super().__init__(
            f"segments by k-means: found {n_distinct:,} different rows of {', '.join(names)}, fewer than the {k} "
            "segments asked for; lower `k`, or name other features under segments.kmeans.on"
        )
        self.k = k
        self.n_distinct = n_distinct
        self.names = names


class TooFewLabelsError(ModelError):
    """A fit that needs both frauds and legitimate events, and did not get them."""

    def __init__(self, what: str, n_fraud: int, n_legit: int) -> None:
        super().__init__(
            f"{what} needs at least one fraud and one legit label; found {n_fraud} fraud and {n_legit} legit; "
            f"widen the span of examples or check the label's value map"
        )
        self.what = what
        self.n_fraud = n_fraud
        self.n_legit = n_legit


class TooFewEventsError(ModelError):
    """A fit without labels that still needs more events, or events that differ."""

    def __init__(self, what: str, found: int, least: int) -> None:
        super().__init__(f"{what}: found {found}, expected at least {least}; widen the span of examples")
        self.what, self.found, self.least = what, found, least


class DamagedNetworkError(ModelError):
    """Bytes that are not the network that was stored."""

    def __init__(self, what: str, found: str) -> None:
        super().__init__(
            f"graph network: {what}: found {found}; take the file from the release once more, or train again"
        )
        self.what = what
        self.found = found


class MissingRuntimeError(ModelError):
    """A network is to be served where ONNX Runtime is not installed."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"serving a graph network needs onnxruntime, which cannot be imported here ({reason}); "
            f"run: pip install onnxruntime"
        )
        self.reason = reason


class BroughtModelError(ModelError):
    """A network that was trained elsewhere and cannot be fed, run or relied on."""

    def __init__(self, name: str, found: str, do: str) -> None:
        super().__init__(f"branch {name}: found {found}; {do}")
        self.name, self.found, self.do = name, found, do


class UnseenError(ModelError):
    """A branch that the score counts on, and nothing that it could look at."""

    def __init__(self, branch: str, need: str) -> None:
        super().__init__(
            f"branch {branch} reads {need} of each event, and none were given; hand them over in `Seen`, or score with "
            "the trees alone"
        )
        self.branch, self.need = branch, need
