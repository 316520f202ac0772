# SPDX-License-Identifier: Apache-2.0
"""A fraud service as people write it: FastAPI and pydantic, windows in Redis sorted sets, LightGBM, a row a decision.

It does what a first version in most companies does, with today's versions and without mistakes: eight velocity
features, one model, three reasons on what is not approved, one durable row before the answer. It has no label windows,
links or networks, no ladder, no order that a replay could follow. Where a choice was open it was made in the peer's
favour, and stands in the docstring of the module.
"""
