# SPDX-License-Identifier: Apache-2.0
"""The engine beside what people use today for the same numbers: snapml, DuckDB, River, pandas; in one run."""
