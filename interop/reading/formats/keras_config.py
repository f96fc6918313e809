"""A Keras configuration (JSON) -> the Python names and the files that loading it would reach.

A Lambda layer brings bytecode; a layer or function of somebody's names the module it comes from,
and Keras imports whatever stands there. A value that is a text where a list is usual is a path or
an address, and Keras reads what lies there.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator

from interop.facts import Danger, Import, Json, Opened
from interop.patterns import lazy
from interop.reading.bytes.address import over_limit
from interop.reading.pickle.imports import is_denied

_OWN = frozenset({"keras", "tf_keras", "tensorflow", "keras_hub", "keras_cv", "keras_nlp"})
# Steps of a module's name that say nothing of what is in it.
_WAYS = frozenset({"src", "python", "api", "_tf_keras", "_v1", "_v2", "v2", "_legacy", "legacy"})
# Parts of Keras whose functions compute: those of the others fetch, unpack, load and write files.
_COMPUTING = frozenset(
    {"activations", "initializers", "regularizers", "constraints", "losses", "metrics", "ops"}
)
# Parts of Keras that hold no layer, loss or other thing of which a model is made.
_REACHING = frozenset({"utils", "saving", "config", "export"})
# Layers that unpickle what is in their configuration, or load another model from a path in it.
_LOADING = frozenset({"TorchModuleWrapper", "__torch_module__", "TFSMLayer"})
# What Keras 2 registers of its own under the name that it gives to what is somebody else's.
_OPTIMIZERS = """
Adadelta Adafactor Adagrad Adam AdamW Adamax CustomScaleLayer Ftrl Lion Nadam RMSprop SGD
SharpnessAwareMinimization
"""
_REGISTERED = frozenset(("Custom", name) for name in _OPTIMIZERS.split())
# Parts of TensorFlow that a Keras 2 model names where it calls its functions as layers, and that
# reach files or run Python.
_TENSORFLOW = frozenset(
    {"io", "gfile", "saved_model", "data", "summary", "raw_ops", "py_function", "numpy_function",
     "py_func", "load_library", "load_op_library", "train", "profiler", "compat", "experimental"}
)  # fmt: skip


# Values that a layer reads from a file or an address when they are a text.
_PATHS = {
    "vocabulary": "vocabulary", "vocabulary_file": "vocabulary", "vocab_file": "vocabulary",
    "merges": "merges", "proto": "SentencePiece model", "filepath": "SavedModel",
    "weights": "weights", "vocabulary_path": "vocabulary", "vocab_path": "vocabulary",
    "model_path": "model", "saved_model_path": "SavedModel", "weights_path": "weights",
    "checkpoint_path": "checkpoint", "file_path": "file", "filename": "file", "url": "file",
}  # fmt: skip
# A layer of TensorFlow Hub names the module that it loads by this.
_HUB, _HANDLE = "KerasLayer", "handle"
# A SentencePiece model in the configuration itself, which is read from there.
_BASE64 = lazy(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
# Words for weights that are no path: none at all.
_NO_WEIGHTS = ("", "None", "random")


def imported(config: Json, path: str) -> Iterator[Import]:
    """The names in every part of a configuration, as often as they stand in it."""
    for node in _nodes(config):
        if (reference := _named(node, path)) is not None:
            yield reference


def opened(config: Json) -> Iterator[Opened]:
    """The files and addresses that loading a configuration reads."""
    for node in _nodes(config):
        inner, kind = node.get("config"), node.get("class_name")
        if not isinstance(inner, dict) or not isinstance(kind, str):
            continue
        kind = kind.rpartition(">")[2][:100]
        layer = f"{kind if kind.isidentifier() else repr(kind)} layer"
        if isinstance(name := inner.get("name"), str):
            layer += f" {name[:100]!r}"
        for key, value in inner.items():
            what = "module" if key == _HANDLE and kind.endswith(_HUB) else _PATHS.get(key, "")
            if not what or not isinstance(value, str):
                continue
            if key == "weights":
                if value in _NO_WEIGHTS:
                    continue
                if "/" not in value and "." not in value:
                    what = "weights to download"
            if key != "proto" or _BASE64.fullmatch(value) is None:
                yield Opened(value, f"{what} of the {layer}")


def _nodes(config: Json) -> Iterator[dict[str, Json]]:
    """Every mapping in a configuration."""
    todo = [config]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += node
        elif isinstance(node, dict):
            yield node
            todo += node.values()


def _named(node: dict[str, Json], path: str) -> Import | None:
    name, module, registered = (node.get(k) for k in ("class_name", "module", "registered_name"))
    if not isinstance(name, str):
        return None
    if len(name) + len(str(module)) + len(str(registered)) > 1000:
        raise over_limit(path, "a name of more than 1,000 letters")
    if name.rpartition(">")[2] in ("Lambda", "__lambda__"):
        # Its bytecode runs when the layer is called, or while the model is loaded.
        return Import("keras.layers", "Lambda", Danger.UNSAFE)
    if name.rpartition(">")[2] in _LOADING:
        return Import("keras.layers", name.rpartition(">")[2], Danger.UNSAFE)
    if name.rpartition(">")[2] == "TFOpLambda":
        inner = node.get("config")
        symbol = str(inner.get("function"))[:1000] if isinstance(inner, dict) else ""
        if symbol.partition(".")[0] in _TENSORFLOW:
            return Import("tensorflow", symbol, Danger.UNSAFE)
    if isinstance(module, str):
        inner = node.get("config")
        is_function = name == "function" and isinstance(inner, str)
        return _from(module, str(inner)[:1000] if is_function else name, is_function)
    if ">" in name or isinstance(registered, str):
        # Registered by a program of somebody's, which has to be imported first.
        package, _, what = str(name if ">" in name else registered).rpartition(">")
        if package.lower() != "keras" and (package, what) not in _REGISTERED:
            return Import(package or "(unknown)", what, Danger.CODE)
    return None


def _from(module: str, name: str, is_function: bool) -> Import | None:
    if module == "builtins" and name not in vars(builtins):
        return None  # Keras's way to write its own functions: "relu"
    steps = module.split(".")
    own = steps[0] in _OWN
    if (own and _reaches(steps, name, is_function)) or is_denied(module, name):
        return Import(module, name, Danger.UNSAFE)
    return None if own else Import(module, name, Danger.CODE)


def _reaches(steps: list[str], name: str, is_function: bool) -> bool:
    """May a name of Keras's or TensorFlow's be something else than a part of a model?"""
    inner = [step for step in steps[1:] if step not in _WAYS]
    if steps[0] == "tensorflow":
        if inner[:1] != ["keras"]:
            return name != "__typespec__"  # that of an input; its class is checked by Keras
        inner = inner[1:]
    part = inner[0] if inner else ""
    if is_function or name[:1].islower():
        return part not in _COMPUTING or name.startswith(("deserialize", "get"))
    return "." in name or not _REACHING.isdisjoint(inner)
