# SPDX-License-Identifier: Apache-2.0
"""What is live? The registry of releases."""
