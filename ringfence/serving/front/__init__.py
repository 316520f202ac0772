# SPDX-License-Identifier: Apache-2.0
"""A process in front of the service that reads requests for it, so that the engine has the interpreter to itself."""
