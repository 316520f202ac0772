# SPDX-License-Identifier: Apache-2.0
"""The runtime of networks does what it is asked, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[2]
OPENS_AND_RUNS = """
import sys
import numpy as np
from ringfence.models.network_file import open_session
session = open_session(sys.stdin.buffer.read())
assert session.run(None, {"x": np.full(1, -2.0, np.float32)})[0] == 0.0
"""


def test_a_network_that_runs_leaves_no_trace_and_reports_to_nobody(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    # No other variables: onnxruntime keeps still by itself where it takes a machine for one that runs tests.
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", OPENS_AND_RUNS], input=model.SerializeToString(), env=environment, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
