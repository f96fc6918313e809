"""Programs as hex on stdin, a line each -> what Python's own two unpicklers do, as JSON lines.

Run by test_opcodes.py, apart from the tests: these unpicklers run what they are given. All that is
called is `probe`'s, a module of a few lines that does nothing but raise an audit event; any event
of another kind that could do harm ends the process.
"""

from __future__ import annotations

import importlib
import io
import json
import pickle
import sys
import types

ALLOWED = {
    "builtins": {"set", "frozenset", "list", "dict", "object", "bytearray"},
    "collections": {"OrderedDict", "Counter", "defaultdict", "deque"},
    "types": {"SimpleNamespace"},
    "argparse": {"Namespace"},
    "copyreg": {"_reconstructor", "__newobj__", "__newobj_ex__"},
    "torch._tensor": {"_rebuild_from_type_v2"},
    "torch": {"Tensor", "float32"},
    "torch._utils": {
        "_rebuild_parameter_with_state",
        "_rebuild_parameter",
        "_rebuild_meta_tensor_no_storage",
    },
    "torch.nn.parameter": {"Parameter"},
    "torch.jit._pickle": {"restore_type_tag"},
    "numpy._core.multiarray": {"scalar"},
    "numpy": {"dtype"},
}
_HARMFUL = ("os.", "subprocess.", "socket.", "shutil.", "ctypes.", "exec", "winreg.", "webbrowser.")

probe = types.ModuleType("probe")
exec(  # the names stand in a module of their own, as a file would find them
    """
import sys

def hit(*args, **options):
    sys.audit("probe.hit")

class Thing:
    pass

class Hooked(dict):
    __setstate__ = __setitem__ = __setattr__ = __call__ = append = extend = add = update = hit
    __init__ = hit

class Dict(dict):
    pass

class Later:
    __setstate__ = hit

class Initial:
    __getinitargs__ = ()

    def __init__(self, *args):
        hit()

class New:
    def __new__(cls, *args, **options):
        hit()
        return object.__new__(cls)

class Key:
    def __hash__(self):
        hit()
        return 0

class Gone:
    def __del__(self):
        hit()
""",
    probe.__dict__,
)
sys.modules["probe"] = probe

events: list[str] = []


def _hook(event: str, args: tuple[object, ...]) -> None:
    if event == "probe.hit":
        events.append(event)
    elif watching and event.startswith(_HARMFUL):
        print(f"stopped: {event}", file=sys.stderr)
        raise SystemExit(9)


def _named(module: str, name: str) -> object:
    if module != "probe" and name not in ALLOWED.get(module, ()):
        raise pickle.UnpicklingError(f"{module}.{name} is not for this test")
    found: object = importlib.import_module(module)
    for step in name.split("."):
        found = getattr(found, step)
    return found


class _InC(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        return _named(module, name)

    def persistent_load(self, key: object) -> object:
        return key


class _InPython(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """Also what dill's and joblib's are made of."""

    find_class = _InC.find_class
    persistent_load = _InC.persistent_load


def load(kind: type, program: bytes) -> dict[str, object]:
    """Whether something of the probe's was called, and how the unpickler ended."""
    events.clear()
    error = ""
    try:
        made = kind(io.BytesIO(program)).load()
        del made
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"[:200]
    return {"called": bool(events), "error": error}


if __name__ == "__main__":
    for name in (*sys.argv[1:], "argparse", "numpy._core.multiarray"):
        importlib.import_module(name)  # before anybody watches: an import runs code
    watching = True
    sys.addaudithook(_hook)
    for line in sys.stdin:
        program = bytes.fromhex(line)
        print(json.dumps([load(_InC, program), load(_InPython, program)]), flush=True)
