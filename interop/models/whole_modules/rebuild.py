"""The records of a pickled module -> that module, made of a library's own classes.

No call that the pickle asks for is made. A module is its class, taken from the installed library,
and its attributes, which are plain values; the class's own `__setstate__` is given them, as
unpickling would.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from inspect import getattr_static
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import _WrappedHook

from interop.facts import TensorSpec
from interop.models.weights import Mapped
from interop.models.whole_modules import allowed
from interop.models.whole_modules.allowed import Refused
from interop.reading.pickle.modules import is_module
from interop.reading.pickle.records import Bag, Constructed, Global, Mapping, Node, Tensor, Text

MAX_DEPTH = 100
_WRAPPERS = frozenset(
    {
        ("torch.nn.parallel.data_parallel", "DataParallel"),
        ("torch.nn.parallel.distributed", "DistributedDataParallel"),
        ("torch.optim.swa_utils", "AveragedModel"),
    }
)
_MEMBERS = ("_parameters", "_buffers", "_modules")
_SCRIPTED = "__overloads__"  # an empty dict that torch.jit.script leaves on every module
_SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})


def unwrapped(node: Constructed) -> Constructed:
    """The module within a wrapper that was pickled around it."""
    for _ in range(4):
        func, inner = node.func, node.state.named["_modules"].named.get("module")
        if type(func) is not Global or (func.module, func.name) not in _WRAPPERS:
            break
        if not is_module(inner):
            break
        node = inner
    return node


class Rebuilding:
    """One file's records on the way to modules; each record becomes one object."""

    def __init__(self, spec_of: Callable[[Tensor], TensorSpec], where: str) -> None:
        self._spec_of = spec_of
        self._mapped = Mapped(where)
        self._done: dict[int, Any] = {}
        self._parameters: dict[int, nn.Parameter] = {}
        self._depth = 0

    # ------------------------------------------------------------ modules

    def module(self, node: Constructed) -> nn.Module:
        """The module of a record; raises Refused if any part of it is not a listed one."""
        if (done := self._done.get(id(node))) is not None:
            return done  # type: ignore[no-any-return]
        cls = allowed.module_class(node.func)
        state: Mapping = node.state
        if node.args != () or node.content is not None or node.items is not None or state.others:
            raise Refused(f"{cls.__name__} is not pickled as a module is")
        module = cls.__new__(cls)
        self._done[id(node)] = module
        self._enter()
        own = {name for part in _MEMBERS for name in _named(state.named.get(part))}
        attributes = {}
        for name, given in state.named.items():
            if name == _SCRIPTED and type(given) is Mapping and not given.named:
                continue
            if name in own or not _may_set(cls, name):
                attributes[name] = self._method(node, module, name, given)
            else:
                attributes[name] = self._attribute(name, given)
        _set_state(cls, module, attributes)
        self._depth -= 1
        return module

    def _attribute(self, name: str, given: Node) -> Any:
        if name == "_parameters":
            return {n: self._parameter(v) for n, v in _members_of(given, name)}
        if name == "_buffers":
            return {n: self._buffer(v) for n, v in _members_of(given, name)}
        if name == "_modules":
            return {n: self._child(n, v) for n, v in _members_of(given, name)}
        if _is_hooks(name):
            return self._hooks(given)
        if name == "_non_persistent_buffers_set" and type(given) is not Bag:
            raise Refused(f"{name} of a module is not a set")
        value = self.value(given)
        allowed.check_attribute(name, value)
        return value

    def _method(self, node: Constructed, module: nn.Module, name: str, given: Node) -> Any:
        """One of the class's own forwards, chosen by the class when it was made."""
        if (
            name == "forward"
            and type(given) is Constructed
            and _called(given) == ("builtins", "getattr")
            and type(given.args) is tuple
            and len(given.args) == 2
            and given.args[0] is node
            and type(given.args[1]) is str
            and given.args[1].startswith("forward_")
        ):
            own = getattr_static(type(module), given.args[1], None)
            if type(own) is FunctionType:
                return own.__get__(module)
        raise Refused(f"it replaces {name} of {type(module).__name__}")

    def _child(self, name: str, given: Node) -> nn.Module | None:
        if given is None:
            return None
        if not is_module(given):
            raise Refused(f"the child {name!r} of a module is not a module")
        return self.module(given)

    def _buffer(self, given: Node) -> torch.Tensor | None:
        if given is not None and type(given) is not Tensor:
            raise Refused("a buffer of a module is not a tensor")
        return None if given is None else self._tensor(given)

    def _parameter(self, given: Node) -> nn.Parameter | None:
        if given is None:
            return None
        if type(given) is not Tensor:
            raise Refused("a parameter of a module is not a tensor")
        if id(given) not in self._parameters:
            self._parameters[id(given)] = nn.Parameter(self._tensor(given), requires_grad=False)
        return self._parameters[id(given)]

    def _hooks(self, given: Node) -> OrderedDict[Any, Any]:
        if type(given) is not Mapping or given.named:
            raise Refused("the hooks of a module are not a table")
        hooks = OrderedDict()
        for number, hook in given.others:
            if type(number) is not int or type(hook) is not Constructed:
                raise Refused("it hangs a hook on a module")
            hooks[number] = self._hook(hook)
        return hooks

    def _hook(self, given: Constructed) -> Any:
        if _called(given) == (_WrappedHook.__module__, _WrappedHook.__name__):
            state = given.state.named if type(given.state) is Mapping else {}
            if type(hook := state.get("hook")) is not Constructed or state.get("with_module"):
                raise Refused("it hangs a hook on a module")
            return _WrappedHook(self._object(allowed.hook_class(hook.func), hook))
        return self._object(allowed.hook_class(given.func), given)

    # ------------------------------------------------------------ values

    def value(self, node: Node) -> Any:
        """A plain value; raises Refused for what is none."""
        kind = type(node)
        if kind in _SCALARS:
            return node
        if id(node) in self._parameters:
            return self._parameters[id(node)]
        if id(node) in self._done:
            return self._done[id(node)]
        self._enter()
        made = self._made(node)
        self._depth -= 1
        self._done[id(node)] = made
        return made

    def _made(self, node: Node) -> Any:
        kind = type(node)
        if kind is tuple:
            return tuple(self.value(item) for item in node)
        if kind is list:
            self._done[id(node)] = made = []
            made += [self.value(item) for item in node]
            return made
        if kind is Bag:
            return {self._key(item) for item in node.items}
        if kind is Mapping:
            return self._mapping(node)
        if kind is Tensor:
            return self._tensor(node)
        if kind is Text and node.kind == "device":
            return torch.device("cpu")
        if kind is Global:
            return allowed.value(node)
        if kind is Constructed:
            return self._constructed(node)
        raise Refused(f"it holds a value of a kind that is not rebuilt ({kind.__name__})")

    def _mapping(self, node: Mapping) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        self._done[id(node)] = made
        for name, given in node.named.items():
            made[name] = self.value(given)
        for key, given in node.others:
            made[self._key(key)] = self.value(given)
        return made

    def _key(self, node: Node) -> Any:
        """What may be a key: a plain value that hashing takes no time for."""
        made = self.value(node) if type(node) in (Constructed, Global) else node
        if type(made) is tuple and len(made) < 16 and all(type(v) in _SCALARS for v in made):
            return made
        if (
            type(made) in _SCALARS
            or isinstance(made, (type, torch.dtype))
            or hasattr(made, "_value_")
        ):
            return made
        raise Refused("it holds a table by keys that are not plain values")

    def _tensor(self, node: Tensor) -> torch.Tensor:
        if id(node) not in self._done:
            self._done[id(node)] = self._mapped.tensor(self._spec_of(node))
        return self._done[id(node)]  # type: ignore[no-any-return]

    def _constructed(self, node: Constructed) -> Any:
        if is_module(node):
            return self.module(node)
        func, args = node.func, node.args
        if _called(node) == ("functools", "partial"):
            return self._partial(node)
        if _called(node) == ("builtins", "getattr") and type(args) is tuple and len(args) == 2:
            if type(args[0]) is Global and args[0].name == "_VariableFunctionsClass":
                return allowed.operation(str(args[1]))
            raise Refused(f"it reaches for the attribute {args[1]!r} of something")
        if (config := allowed.config_class(func)) is not None:
            return self._object(config, node)
        if (plain := allowed.plain_class(func)) is not None:
            return self._object(plain, node)
        alone = type(args) is tuple and len(args) == 1 and type(args[0]) in _SCALARS
        if alone and (member := allowed.member(func, args[0])) is not None:
            return member
        raise Refused(f"it holds an object of {allowed.spelt(func)}")

    def _partial(self, node: Constructed) -> Any:
        state = node.state
        if type(state) is not tuple or len(state) != 4 or type(state[0]) is not Global:
            raise Refused("it holds a partial call of something that is not listed")
        func, args, named = state[0], state[1], state[2]
        if type(args) is not tuple or (named is not None and type(named) is not Mapping):
            raise Refused("it holds a partial call with arguments that it computes")
        given = {} if named is None else self._mapping(named)
        return partial(allowed.value(func), *self.value(args), **given)

    def _object(self, cls: type[Any], node: Constructed) -> Any:
        """An object that holds plain values: its attributes are set, nothing of it is called."""
        state = node.state
        if node.args != () or type(state) is not Mapping or state.others or node.content:
            raise Refused(f"{cls.__name__} is not pickled as its attributes")
        if not allowed.makes_nothing(cls):
            raise Refused(f"{cls.__name__} is a class that is never rebuilt")
        made = object.__new__(cls)
        self._done[id(node)] = made
        for name, given in state.named.items():
            if not _may_set(cls, name):
                raise Refused(f"it replaces {name} of {cls.__name__}")
            value = made.__dict__[name] = self.value(given)
            allowed.check_attribute(name, value)
        return made

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Refused(f"it nests values more than {MAX_DEPTH} deep")


def _called(node: Constructed) -> tuple[str, str]:
    func = node.func
    if type(func) is not Global:
        return "", ""
    return "builtins" if func.module == "__builtin__" else func.module, func.name


def _named(given: Node) -> list[str]:
    return list(given.named) if type(given) is Mapping else []


def _members_of(given: Node, name: str) -> list[tuple[str, Node]]:
    if type(given) is not Mapping or given.others or any("." in n or not n for n in given.named):
        raise Refused(f"{name} of a module is not a table by name")
    return list(given.named.items())


def _is_hooks(name: str) -> bool:
    return name.startswith("_") and "_hooks" in name


def _may_set(cls: type[Any], name: str) -> bool:
    """Whether an object's own attribute of that name only holds a value.

    Python looks properties and methods up in the class; a module's own `forward` would replace it.
    """
    if name.startswith("__") or name == "_compiled_call_impl":
        return False
    return not hasattr(type(getattr_static(cls, name, None)), "__get__")


def _set_state(cls: type[nn.Module], module: nn.Module, attributes: dict[str, Any]) -> None:
    """Give a module its attributes by the library's code, which fills in what old files lack."""
    attributes.setdefault("_buffers", {})
    for hooks in ("_forward_hooks", "_backward_hooks"):
        attributes.setdefault(hooks, OrderedDict())
    setter: Any = cls.__setstate__
    try:
        setter(module, attributes)
    except Exception as error:  # the library's code, on values of the file's
        raise Refused(f"{cls.__name__} does not take its attributes: {error}") from error
