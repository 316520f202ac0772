# SPDX-License-Identifier: Apache-2.0
"""Which trace a request belongs to, by its headers; held beside the propagator of OpenTelemetry."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import trace as api
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ringfence.serving.trace import parent_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"

hexes = st.text("0123456789abcdefABCDEFg", max_size=3)
headers = st.one_of(
    st.text(st.characters(min_codepoint=9, max_codepoint=255), max_size=80),
    st.builds(
        lambda text, at, more, n: text[:at] + more + text[at + n :],  # one change of a good one
        st.just(GOOD),
        st.integers(0, len(GOOD)),
        st.text("0123456789abcdefABCDEFxyz- \t\n\x00é", max_size=3),
        st.integers(0, 3),
    ),
    st.builds(
        lambda version, trace, span, flags, more: f"{version:02x}-{trace:032x}-{span:016x}-{flags:02x}{more}",
        st.integers(0, 255),
        st.integers(0, 2**128 - 1),
        st.integers(0, 2**64 - 1),
        st.integers(0, 255),
        st.sampled_from(["", "-", "-00", "-later-things", "x", "0"]),
    ),
)


@given(headers)
@example(GOOD)
@example(f"00-{'0' * 32}-{SPAN}-01")
@example(f"00-{TRACE}-{'0' * 16}-01")
@example(f"ff-{TRACE}-{SPAN}-01")
@example(f"cc-{TRACE}-{SPAN}-01-later")
@example(f"00-{TRACE}-{SPAN}-01-later")
@example(f"00-{TRACE.upper()}-{SPAN}-01")
@example(f" {GOOD}\t")
@example("")
def test_a_traceparent_means_what_it_means_to_opentelemetry_and_malformed_ones_nothing(header: str) -> None:
    found = parent_of([(b"host", b"x"), (b"traceparent", header.encode("latin-1"))])
    context = api.get_current_span(TraceContextTextMapPropagator().extract({"traceparent": header})).get_span_context()
    if "\n" in header or "\x0b" in header or "\x0c" in header or "\r" in header:
        return  # no HTTP header holds these; regular expressions differ about the end of a line
    if not context.is_valid:
        assert found is None
    else:
        assert found is not None
        assert (found.trace_id, found.span_id) == (context.trace_id, context.span_id)
        assert found.is_sampled is bool(context.trace_flags & 1)


@given(st.lists(st.tuples(st.sampled_from([b"traceparent", b"tracestate", b"host"]), st.binary(max_size=300))))
def test_no_headers_are_too_strange(given_headers: list[tuple[bytes, bytes]]) -> None:
    found = parent_of(given_headers)
    assert found is None or (found.trace_id and found.span_id)


@pytest.mark.parametrize(
    "header",
    [b"", b"00", GOOD.encode()[:-1], GOOD.encode() + b"0", b"-" * 55, b"\xff" * 55, GOOD.encode() + b"-" * 300],
)
def test_what_is_no_traceparent_is_ignored(header: bytes) -> None:
    assert parent_of([(b"traceparent", header)]) is None


def test_two_traceparents_mean_nothing_and_states_are_joined() -> None:
    one = (b"traceparent", GOOD.encode())
    assert parent_of([one, one]) is None
    found = parent_of([(b"tracestate", b"a=1"), one, (b"tracestate", b"b=2")])
    assert found is not None
    assert (found.state, found.is_sampled) == (b"a=1,b=2", True)
    assert parent_of([]) is None
