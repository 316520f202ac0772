# SPDX-License-Identifier: Apache-2.0
"""What could these files mean? A table that nobody described -> a commented scenario, each guess with its evidence."""

from __future__ import annotations

from ringfence.drafting.draft import Draft, draft_scenario
from ringfence.drafting.errors import DraftError
from ringfence.drafting.outlook import Outlook, outlook_of
from ringfence.drafting.stubs import workspace_files
from ringfence.drafting.writing import checks_of, yaml_of

__all__ = ["Draft", "DraftError", "Outlook", "checks_of", "draft_scenario", "outlook_of", "workspace_files", "yaml_of"]
