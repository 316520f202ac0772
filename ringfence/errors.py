# SPDX-License-Identifier: Apache-2.0
"""The root of every error ringfence raises on purpose.

A subclass lives in the room that raises it and holds the values it talks about. A message says what went wrong,
where, what was found and what to do. Nothing here knows HTTP: `serving/errors.py` maps causes to status codes.
"""

from __future__ import annotations


class RingfenceError(Exception):
    """Anything that ringfence refuses to do, with a sentence for the person who has to mend it."""
