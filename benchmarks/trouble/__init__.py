# SPDX-License-Identifier: Apache-2.0
"""The service while something goes wrong."""
