"""What is kept from the exporters, and that it changes nothing of what they answer."""

from __future__ import annotations

from onnxscript._internal.values import TracedOnnxFunction
from torch.onnx._internal.exporter._registration import ONNXRegistry

from interop.export import routes


def test_the_registry_is_the_same_without_parsing_every_function(monkeypatch) -> None:
    from onnxscript._internal import ast_utils

    whole = ONNXRegistry.from_torchlib().functions
    parsed, real = [], ast_utils.get_src_and_ast
    monkeypatch.setattr(ast_utils, "get_src_and_ast", lambda f: parsed.append(f) or real(f))
    with routes._unparsed():
        quick = ONNXRegistry.from_torchlib().functions
        assert not parsed
        held = [m.onnx_function for metas in quick.values() for m in metas]
        some = [f for f in held if isinstance(f, TracedOnnxFunction)][:5]
        told = [(f.function_ir.domain, f.function_ir.name) for f in some]
        assert len(some) == len(parsed) == 5
    assert told == [(f.function_ir.domain, f.function_ir.name) for f in some]
    assert {t: [m.onnx_function for m in ms] for t, ms in quick.items()} == {
        t: [m.onnx_function for m in ms] for t, ms in whole.items()
    }
