# SPDX-License-Identifier: Apache-2.0
"""What a given attribute says as a feature, by its type."""

from __future__ import annotations

from typing import Final

from ringfence.scenario.spec import AttributeType

ATTRIBUTE_TEXT: Final = {
    AttributeType.NUMBER: "{name} as given",
    AttributeType.BOOLEAN: "{name} as given",
    AttributeType.CATEGORY: "{name} as given",
    AttributeType.TEXT: "length of {name}",
    AttributeType.TIME: "days from {name} to the event",
}
ATTRIBUTE_UNIT: Final = {
    AttributeType.NUMBER: "as given",
    AttributeType.BOOLEAN: "0/1",
    AttributeType.CATEGORY: "category",
    AttributeType.TEXT: "characters",
    AttributeType.TIME: "days",
}
