# SPDX-License-Identifier: Apache-2.0
"""The nightly run beside a running service, which is asked to decide what waits, a part after the other."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from ringfence.cli.exits import UsageError
from ringfence.cli.running import TOKEN, ServiceRefusedError, ask
from ringfence.cli.terminal import Progress

_PART: Final = 64  # events that one request asks for
_TRY_AGAIN: Final = (429, 503)
_PATIENCE_S: Final = 60.0  # that refusals are waited out without anything being decided in between
_SILENCE_S: Final = 20.0  # that nothing may come of one request
_LEAST_PAUSE_S: Final = 0.1  # whatever a proxy before the service says
_ROUTE: Final = "/v1/pending/decide"


class BesideRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to, as the service confirmed it."""

    release: str  # that decided last
    n_decided: int
    n_need_replay: int  # that go on waiting for a run with the service ended
    n_left: int  # that waited at the end, these included, and what came meanwhile
    by_action: dict[str, int]
    seconds: float


def decide_beside(
    url: str,
    scenario: str,
    *,
    progress: Progress,
    say: Callable[[str], None],
    patience_s: float = _PATIENCE_S,
    silence_s: float = _SILENCE_S,
) -> BesideRun:
    """Have the service decide what waits at the beginning; what comes to wait meanwhile is for the next run.

    Ended at any moment and run again, it goes on where it was: the service knows what waits.

    Parameters
    ----------
    progress : told how many of those that waited were looked at.
    say : told of what was decided before a refusal that ends the run.
    patience_s : for how long refusals that say `retry` are waited out, and answers that do not come; after the first
        answer also a service that is gone, as it may be started again.
    silence_s : after which an answer is not waited for any longer, and the same is asked again: what was decided is
        not decided twice.

    Raises
    ------
    UsageError
        Without a token.
    ServiceRefusedError
        If the service refuses, or gives no answer. What was decided stands.
    """
    token = os.environ.get(TOKEN)
    if not token:
        raise UsageError(
            f"--service asks the service with a token: set {TOKEN} to one with the scope decide (`ringfence keys "
            "create NAME --scopes decide`)"
        )
    began_s = time.monotonic()
    path = f"{_ROUTE}?{urlencode({'scenario': scenario})}"
    actions, n_need_replay, after, total = Counter[str](), 0, 0, None
    while True:
        try:
            part = {"limit": _PART, "after": after}
            answer = _answered(url, token, path, part, patience_s, silence_s, was_there=total is not None)
        except ServiceRefusedError:
            if actions:
                say(f"{actions.total():,} were decided before this, which stands; run it again for the rest")
            raise
        actions.update(answer["by_action"])
        n_need_replay += answer["need_replay"]
        n_looked = actions.total() + n_need_replay
        if total is None:
            total = answer["decided"] + answer["left"]
        progress(min(n_looked, total), total)
        if answer["last_event_seq"] is None or n_looked >= total:
            return BesideRun(
                release=answer["release"],
                n_decided=actions.total(),
                n_need_replay=n_need_replay,
                n_left=answer["left"],
                by_action=_in_order(actions),
                seconds=time.monotonic() - began_s,
            )
        after = answer["last_event_seq"]


def _answered(
    url: str, token: str, path: str, body: dict[str, int], patience_s: float, silence_s: float, *, was_there: bool
) -> dict[str, Any]:
    until_s = time.monotonic() + patience_s
    while True:
        try:
            return ask(url, token, "POST", path, body, option="--service", timeout_s=silence_s)
        except ServiceRefusedError as error:
            pause_s = max(error.retry_after_s, _LEAST_PAUSE_S)
            passes = error.status in _TRY_AGAIN or error.is_late or (error.is_gone and was_there)
            if not passes or time.monotonic() + pause_s > until_s:
                raise
            time.sleep(pause_s)


def _in_order(actions: Counter[str]) -> dict[str, int]:
    from ringfence.policy.costs import ACTIONS

    return {name: actions[name] for name in ACTIONS if name in actions}
