# SPDX-License-Identifier: Apache-2.0
"""What can be done with a workspace? One function a step; the command line and `ringfence.open` both call them.

Libraries are imported inside the functions, so that `import ringfence` and `ringfence --help` answer at once.
"""
