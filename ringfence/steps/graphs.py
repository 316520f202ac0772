# SPDX-License-Identifier: Apache-2.0
"""The graph, from Python: what `OpenWorkspace` does as `ringfence export graph` does it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.steps.open_scenario import OpenScenario, Progress, When

if TYPE_CHECKING:
    from ringfence.steps.graph_files import GraphFiles


class ExportsGraph(OpenScenario):
    """The part of an open workspace that writes its graph."""

    def export_graph(
        self,
        directory: Path | str,
        *,
        until: When | None = None,
        features: bool = True,
        later_labels: bool = False,
        with_ids: bool = False,
        progress: Progress | None = None,
    ) -> GraphFiles:
        """Write the scenario's graph as Parquet, for models of your own; reads the ledger only. docs/graph-export.md.

        Parameters
        ----------
        directory : does not exist yet, or is empty. Whole or not there at all.
        until : the cut: events before it with a label known by then are the part `train`, those from it on `test`.
            None: the end of the ledger, and no test.
        features : write the feature row of each decided event, as of itself.
        later_labels : write what labels said after the cut to a file of its own, `later_labels.parquet`.
        with_ids : write the original ids of entities, for those not erased; else there are keyed digests alone.

        Returns
        -------
        What was written: `.manifest`, and frames by `.events()`, `.entities(type)`, `.edges(role)`, `.labels()`.
        Personal attributes, those for audits alone, and texts (but for their length) are never written.

        Raises
        ------
        GraphFolderError
            If the directory holds something.
        NoCutError
            If later labels are asked for without `until`.
        """
        from ringfence.steps.graph_export import export_graph

        return export_graph(
            self._here,
            self._scenario,
            Path(directory),
            until_ms=None if until is None else self._ms("until", until),
            features=features,
            later_labels=later_labels,
            with_ids=with_ids,
            progress=None if progress is None else lambda done, total: progress("exporting", done, total),
        )
