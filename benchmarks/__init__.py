# SPDX-License-Identifier: Apache-2.0
"""Commands that measure; each module's docstring says how to run it."""

from __future__ import annotations

import os

from ringfence.steps.kernel_cache import use_kernel_cache

use_kernel_cache(os.environ)
