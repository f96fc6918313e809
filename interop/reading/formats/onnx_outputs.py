"""The last nodes of an ONNX graph -> what each of its outputs means, in a word.

Input is which operator makes each tensor, and of what. Only the way back from an output is walked,
and only a few steps of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Nodes = Mapping[str, tuple[str, tuple[str, ...]]]  # a tensor's name -> its operator, its inputs

VALUES = "values"
UNKNOWN = "unknown"  # followed by the operator
_DEPTH = 24
# What changes the form of numbers and not what they mean; the first input is the one looked into.
_PASS_WORDS = """
Identity Cast CastLike Reshape Squeeze Unsqueeze Flatten Transpose Dropout Slice Gather Expand
Resize QuantizeLinear DequantizeLinear
"""
_PASS = frozenset(_PASS_WORDS.split())
_PLAIN_WORDS = """
Gemm MatMul Conv ConvTranspose Einsum BatchNormalization LayerNormalization RMSNormalization
InstanceNormalization GroupNormalization ReduceMean GlobalAveragePool GlobalMaxPool AveragePool
MaxPool QLinearMatMul QLinearConv QGemm MatMulInteger ConvInteger MatMulNBits FusedMatMul
FusedGemm FusedConv LSTM GRU RNN
"""
_PLAIN = frozenset(_PLAIN_WORDS.split())
_NAMED = {
    "Softmax": "probabilities",
    "LogSoftmax": "log-probabilities",
    "Sigmoid": "probabilities of each label alone",
    "LpNormalization": "normalised vectors",
    **dict.fromkeys(("ArgMax", "TopK", "ZipMap", "LabelEncoder", "ArrayFeatureExtractor"),
                    "classes"),
    **dict.fromkeys(("Relu", "Tanh", "LeakyRelu", "Elu", "Gelu", "HardSigmoid", "Softplus",
                     "Softsign", "PRelu", "Selu", "Celu", "Mish", "HardSwish", "Swish"), ""),
    **dict.fromkeys(("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal", "Not"),
                    "decisions"),
}  # fmt: skip


def meanings(outputs: Iterable[str], nodes: Nodes) -> dict[str, str]:
    """What each output holds: "values" (as the last layer gives them, logits for a classifier),
    "probabilities", "log-probabilities", "classes", …, or "unknown" and the operator."""
    known: dict[tuple[str, int], str] = {}
    return {name: _meaning(name, nodes, _DEPTH, known) for name in outputs}


def _meaning(name: str, nodes: Nodes, depth: int, known: dict[tuple[str, int], str]) -> str:
    """`known` keeps what was found: ways that part and meet again are walked once."""
    if (found := known.get((name, depth))) is None:
        found = known[name, depth] = _found(name, nodes, depth, known)
    return found


def _found(name: str, nodes: Nodes, depth: int, known: dict[tuple[str, int], str]) -> str:
    if (name := _behind(name, nodes)) not in nodes:
        return VALUES  # an input or a weight, handed on
    operator, inputs = nodes[name]
    operator = operator.rpartition(".")[2]
    if depth <= 0 or not inputs:
        return f"{UNKNOWN} {operator}"
    if operator in _PLAIN:
        return VALUES
    if operator in _NAMED:
        return _NAMED[operator] or f"{VALUES} after {operator}"
    if operator == "Log":
        inner = _meaning(inputs[0], nodes, depth - 1, known)
        return f"log-{inner}" if inner.startswith("probabilities") else f"{UNKNOWN} Log"
    if written := _written_out(operator, inputs, nodes):
        return written
    if operator in ("Add", "Sub", "Mul", "Div", "Sum", "Concat"):
        parts = {_meaning(one, nodes, depth // 2, known) for one in inputs if one in nodes}
        alike = parts <= {VALUES} or (operator == "Concat" and len(parts) == 1)
        return next(iter(parts), VALUES) if alike else f"{UNKNOWN} {operator}"
    return f"{UNKNOWN} {operator}"


def _written_out(operator: str, inputs: tuple[str, ...], nodes: Nodes) -> str:
    """What arithmetic is written for: exp / sum, 1 / (1 + exp), x / norm, x - log-sum-exp."""
    if operator not in ("Div", "Mul", "Reciprocal", "Sub"):
        return ""
    first, *rest = (_behind(one, nodes) for one in inputs)
    second = rest[0] if rest else ""
    if operator == "Reciprocal":
        first, second = "", first
    if operator == "Mul":  # by a reciprocal; x times its own sigmoid is an activation
        for one, other in ((first, second), (second, first)):
            if _kind(one, nodes) == "Sigmoid" and _source(one, nodes) == other:
                return f"{VALUES} after Swish"
            if _kind(other, nodes) == "Reciprocal":
                return _written_out("Div", (one, _source(other, nodes)), nodes)
        return ""
    if operator == "Sub":
        chain = _chain(second, nodes)
        summed = chain[:1] == ["ReduceLogSumExp"] or chain[:2] == ["Log", "ReduceSum"]
        return "log-probabilities" if summed else ""
    chain = _chain(second, nodes)
    if _kind(first, nodes) == "Exp" and chain[:2] == ["ReduceSum", "Exp"]:
        return "probabilities"
    if "ReduceL2" in chain or chain[:2] in (["Sqrt", "ReduceSum"], ["Sqrt", "ReduceSumSquare"]):
        return "normalised vectors"
    if chain[:1] == ["Add"]:
        terms = (_kind(_behind(one, nodes), nodes) for one in nodes[second][1])
        if "Exp" in terms and _kind(first, nodes) == "":
            return "probabilities of each label alone"
    return ""


def _behind(name: str, nodes: Nodes) -> str:
    """The tensor that a name is once its form is looked through."""
    for _ in range(_DEPTH):
        operator, inputs = nodes.get(name, ("", ()))
        if operator not in _PASS or not inputs:
            break
        name = inputs[0]
    return name


def _kind(name: str, nodes: Nodes) -> str:
    return nodes[name][0] if name in nodes else ""


def _source(name: str, nodes: Nodes) -> str:
    inputs = nodes[name][1] if name in nodes else ()
    return _behind(inputs[0], nodes) if inputs else ""


def _chain(name: str, nodes: Nodes) -> list[str]:
    """The operators from a tensor backwards along first inputs, bounds (Clip, Max) left out."""
    chain = []
    for _ in range(4):
        if not (kind := _kind(name, nodes)) or kind == "Constant":
            break
        if kind not in ("Clip", "Max"):
            chain.append(kind)
        name = _source(name, nodes)
    return chain
