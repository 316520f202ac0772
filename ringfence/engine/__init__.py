# SPDX-License-Identifier: Apache-2.0
"""What does it mean? Entity state folded from the ledger, and the feature rows read from it."""
