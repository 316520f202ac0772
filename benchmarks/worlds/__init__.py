# SPDX-License-Identifier: Apache-2.0
"""How hard is a simulated world, and how like a real insurer? Judged by the truth, which the models never see."""

import os

# Threads that wait must not spin: beside other work that would cost the trees most of their time.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
