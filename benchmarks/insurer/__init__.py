# SPDX-License-Identifier: Apache-2.0
"""The table of the simulated insurer: rules, regression, trees, networks and the ensemble on the same claims."""
