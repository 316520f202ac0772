# SPDX-License-Identifier: Apache-2.0
"""ringfence decides how risky an event is, and runs the whole loop around that decision."""

__version__ = "0.1.0"
