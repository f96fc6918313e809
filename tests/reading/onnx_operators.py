"""The operators that the installed onnx knows -> the table that the reader judges nodes by.

python -m tests.reading.onnx_operators     (make operators: after an update of onnx)

A line an operator: the opsets from which on it takes and gives other values, each with a letter for
every input and, behind ">", output (s: single, o: optional, 1v: one or more), or "->-" where it is
deprecated. In brackets the domain and the newest opset that the table knows.
"""

from __future__ import annotations

from onnx import defs

from interop.reading.formats.onnx_soundness import TABLE

DOMAINS = ("", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training")
_OPTION = defs.OpSchema.FormalParameterOption
_LETTERS = {_OPTION.Single: "s", _OPTION.Optional: "o", _OPTION.Variadic: "v"}


def text() -> str:
    """The table, ending in a newline."""
    lines = ["# Made by python -m tests.reading.onnx_operators, which says what stands here."]
    schemas = defs.get_all_schemas_with_history()
    for domain in DOMAINS:
        own = sorted((s.name, s.since_version, s) for s in schemas if s.domain == domain)
        # ONNX's own opset goes up without a new version of any operator.
        newest = max(since for _, since, _ in own) if domain else defs.onnx_opset_version()
        lines.append(f"[{domain or 'ai.onnx'} {newest}]")
        versions: dict[str, list[str]] = {}
        for name, since, schema in own:
            words = versions.setdefault(name, [])
            signature = _signature(schema)
            if words[-1:] != [signature]:
                words += [str(since), signature]
        lines += [" ".join([name, *words]) for name, words in versions.items()]
    return "\n".join(lines) + "\n"


def _signature(schema: defs.OpSchema) -> str:
    if schema.deprecated:
        return "->-"
    return ">".join("".join(map(_letter, values)) for values in (schema.inputs, schema.outputs))


def _letter(value: defs.OpSchema.FormalParameter) -> str:
    arity = str(value.min_arity) if value.option == _OPTION.Variadic else ""
    return arity + _LETTERS[value.option]


if __name__ == "__main__":
    TABLE.write_text(text(), "utf-8", newline="\n")
