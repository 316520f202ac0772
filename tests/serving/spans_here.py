# SPDX-License-Identifier: Apache-2.0
"""An exporter of spans that keeps them here, and callers that ask for it."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from .test_ledger_trouble import until

TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
SAMPLED = {"traceparent": f"00-{TRACE:032x}-{SPAN:016x}-01", "tracestate": "vendor=value"}
UNSAMPLED = {"traceparent": f"00-{TRACE:032x}-{SPAN:016x}-00"}


class Here(InMemorySpanExporter):
    """Spans by name, once they were sent."""

    def wait(self, n: int = 1) -> list[ReadableSpan]:
        """Wait for the spans of n requests: those below a request's own are sent before it."""
        until(lambda: sum(span.kind is SpanKind.SERVER for span in self.get_finished_spans()) >= n)
        return list(self.get_finished_spans())


def send_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send often, by the SDK's own variable; and nothing of this machine's surroundings counts."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_HEADERS"):
        monkeypatch.delenv(name, raising=False)
