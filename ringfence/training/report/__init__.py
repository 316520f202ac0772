# SPDX-License-Identifier: Apache-2.0
"""The evaluation report: one HTML file that a risk manager can open, print and keep."""

from ringfence.training.report.content import FeatureImportance, FoldSummary, ReportInput
from ringfence.training.report.whole import render

__all__ = ["FeatureImportance", "FoldSummary", "ReportInput", "render"]
