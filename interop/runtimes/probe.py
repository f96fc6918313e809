"""This machine -> the execution providers of ONNX Runtime that really load here, as a line of JSON.

`interop doctor` runs it in a process of its own: a library that does not load may take its process
with it.
"""

from __future__ import annotations

import json
from typing import Any


def main() -> dict[str, Any]:
    """Each provider that is built in: true where a session runs on it, else why not."""
    import onnxruntime
    from onnx import TensorProto, helper

    try:
        import torch
    except ImportError:
        gpu = None
    else:  # torch brings the CUDA libraries that the CUDA provider looks for
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    onnxruntime.set_default_logger_severity(4)
    node = helper.make_node("Add", ["x", "x"], ["y"])
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy"]
    graph = helper.make_graph([node], "probe", ports[:1], ports[1:])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    providers: dict[str, bool | str] = {}
    for name in onnxruntime.get_available_providers():
        try:
            session = onnxruntime.InferenceSession(model, providers=[name])
            providers[name] = name in session.get_providers()
        except Exception as error:  # its exceptions have no common base of their own
            providers[name] = (str(error).strip().splitlines() or ["does not start"])[0][:200]
    return {"providers": providers, "gpu": gpu}


if __name__ == "__main__":
    answer = main()
    print()  # after what the libraries wrote without ending their line
    print(json.dumps(answer))
