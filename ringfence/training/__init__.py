# SPDX-License-Identifier: Apache-2.0
"""How is a release made? Time splits, out-of-fold fitting, evaluation, report and model card."""
