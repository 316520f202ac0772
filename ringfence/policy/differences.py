# SPDX-License-Identifier: Apache-2.0
"""Where a policy file and the policy of a release part: an edited file waits for the next release."""

from __future__ import annotations

from typing import Any

import msgspec

from ringfence.policy.policy import Policy


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One key on which two policies disagree."""

    key: str  # dotted, as it stands in the file, such as costs.review.cost
    written: Any  # in the file; None where it is absent
    live: Any  # in the release; None where it is absent

    def __str__(self) -> str:
        return f"{self.key} ({_shown(self.written)} in the file, {_shown(self.live)} in the release)"


def differences(written: Policy, live: Policy) -> tuple[Difference, ...]:
    """List the keys on which a policy file differs from what a release was made from.

    Parameters
    ----------
    written : as the file says it.
    live : of a release. What `train` fits is not compared: the review price where capacity limits reviews, and the
        typical amount where the file has none.
    """
    given, kept = _flat(msgspec.to_builtins(written)), _flat(msgspec.to_builtins(live))
    fitted = {"typical_amount"} if written.typical_amount is None else set()
    if written.fits_review_price or live.fits_review_price:
        fitted.add("capacity.review_price")
    keys = [key for key in dict.fromkeys((*given, *kept)) if key not in fitted and given.get(key) != kept.get(key)]
    return tuple(Difference(key=key, written=given.get(key), live=kept.get(key)) for key in keys)


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {} if isinstance(value, dict) else {path: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{path}.{key}" if path else str(key))
    return flat


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return "nothing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
