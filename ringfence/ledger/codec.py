# SPDX-License-Identifier: Apache-2.0
"""Record bodies as msgpack, and back."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ringfence.ledger.records import (
    DecisionBody,
    DisagreementBody,
    EventBody,
    Kind,
    LabelBody,
    PendingBody,
    Record,
    ReleaseBody,
    ReviewRequestedBody,
    TickBody,
    Told,
)

Body = Told | dict[str, Any]
Row = tuple[int, int, int, int, bytes, bytes]  # a row of the table `records`

SELECT_RECORD: Final = "SELECT seq, kind, recorded_at_ms, watermark_ms, body, chain FROM records"

encode_body: Final = msgspec.msgpack.Encoder().encode
decode_event: Final = msgspec.msgpack.Decoder(EventBody).decode
decode_label: Final = msgspec.msgpack.Decoder(LabelBody).decode
decode_decision: Final = msgspec.msgpack.Decoder(DecisionBody).decode
_decode_release: Final = msgspec.msgpack.Decoder(ReleaseBody).decode
_decode_tick: Final = msgspec.msgpack.Decoder(TickBody).decode
_decode_review_requested: Final = msgspec.msgpack.Decoder(ReviewRequestedBody).decode
_decode_pending: Final = msgspec.msgpack.Decoder(PendingBody).decode
_decode_disagreement: Final = msgspec.msgpack.Decoder(DisagreementBody).decode
_decode_other: Final = msgspec.msgpack.Decoder(dict[str, Any]).decode


def decode_body(kind: int, body: bytes) -> Body:
    """Decode a body by its record's kind."""
    match kind:
        case Kind.EVENT:
            return decode_event(body)
        case Kind.LABEL:
            return decode_label(body)
        case Kind.DECISION:
            return decode_decision(body)
        case Kind.RELEASE:
            return _decode_release(body)
        case Kind.TICK:
            return _decode_tick(body)
        case Kind.REVIEW_REQUESTED:
            return _decode_review_requested(body)
        case Kind.PENDING:
            return _decode_pending(body)
        case Kind.DISAGREEMENT:
            return _decode_disagreement(body)
    return _decode_other(body)


def record_of(row: Row) -> Record:
    """Turn a row of `records` into a Record."""
    seq, kind, recorded_at_ms, watermark_ms, body, chain = row
    return Record(
        seq=seq,
        kind=Kind(kind),
        recorded_at_ms=recorded_at_ms,
        watermark_ms=watermark_ms,
        body=decode_body(kind, body),
        chain=bytes(chain),
    )
