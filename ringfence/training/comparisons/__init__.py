# SPDX-License-Identifier: Apache-2.0
"""What would have been, had a release been made another way? Studies that `ringfence evaluate --study` runs."""
