"""Dataclasses that cost next to nothing to define: their methods are made when first used.

A class of annotations -> the slotted record that `dataclasses.dataclass` makes of it. A command
loads some eighty records and makes instances of a few, and the standard library compiles six
methods of each. Here `__init__` alone is compiled, at the first instance; the rest is shared.
`dataclasses.fields`, `is_dataclass`, `asdict` and `replace` work on a record as on any dataclass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass", "field", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:
    from operator import attrgetter
    from reprlib import recursive_repr

    _MISSING = object()  # no default, or not given

    class _Field:
        """What `field` was told."""

        __slots__ = ("compare", "default", "factory", "init", "kw_only", "metadata")

        def __init__(self, default, factory, init, compare, metadata):
            self.default, self.factory, self.init = default, factory, init
            self.compare, self.metadata, self.kw_only = compare, metadata, False

    class _Made:
        """How a record was made: its fields by name, those that are no base's, what it compares."""

        __slots__ = ("fields", "frozen", "key", "kw_only", "own")

        def __init__(self, fields, own, frozen, kw_only):
            self.fields, self.own, self.frozen, self.kw_only = fields, own, frozen, kw_only
            compared = [name for name, one in fields.items() if one.compare]
            self.key = attrgetter(*compared) if compared else bool

    def field(
        *, default=_MISSING, default_factory=_MISSING, init=True, compare=True, metadata=None
    ):
        """`dataclasses.field`, as far as records need it."""
        return _Field(default, default_factory, init, compare, metadata)

    def dataclass(*, slots=False, frozen=False, kw_only=False, eq=True, repr=True):
        """`dataclasses.dataclass`."""
        return lambda cls: _record(cls, slots, frozen, kw_only, eq, repr)

    def replace(record, /, **changes):
        """`dataclasses.replace`."""
        made = getattr(record, "__record__", None)
        if made is None:
            import dataclasses

            return dataclasses.replace(record, **changes)
        for name, one in made.fields.items():
            if name not in changes and one.init:
                changes[name] = getattr(record, name)
        return type(record)(**changes)

    def _record(cls, slots, frozen, kw_only, eq, repr):
        own = _own_fields(cls, kw_only)
        fields = {}
        for base in reversed(cls.__mro__[1:]):
            if made := base.__dict__.get("__record__"):
                fields |= made.own
        given = {k: v for k, v in cls.__dict__.items() if k not in own}
        for name in ("__dict__", "__weakref__"):
            given.pop(name, None)
        if slots:
            given["__slots__"] = tuple(name for name in own if name not in fields)
        fields |= own
        given["__record__"] = _Made(fields, own, frozen, kw_only)
        given["__dataclass_fields__"], given["__dataclass_params__"] = _FIELDS, _PARAMS
        given["__signature__"] = _SIGNATURE
        given["__match_args__"] = tuple(n for n, f in fields.items() if f.init and not f.kw_only)
        given["__init__"], given["__replace__"] = _first_init, replace
        for name, method in _methods(slots, frozen, eq, repr).items():
            if given.get(name) is None:  # a class with an `__eq__` has None for a `__hash__`
                given[name] = method
        made = type(cls)(cls.__name__, cls.__bases__, given)
        made.__qualname__ = cls.__qualname__
        return made

    def _own_fields(cls, kw_only):
        fields = {}
        for name in cls.__annotations__:
            one = cls.__dict__.get(name, _MISSING)
            if not isinstance(one, _Field):
                one = _Field(one, _MISSING, True, True, None)
            one.kw_only = kw_only
            fields[name] = one
        return fields

    def _methods(slots, frozen, eq, repr):
        methods = {"__repr__": _repr} if repr else {}
        if eq:
            methods |= {"__eq__": _eq, "__hash__": _hash if frozen else None}
        if frozen:
            methods |= {"__setattr__": _no_set, "__delattr__": _no_delete}
        if frozen and slots:
            methods |= {"__getstate__": _state, "__setstate__": _set_state}
        return methods

    def _owner(cls):
        """The record that a class is, or is made of."""
        return next(base for base in cls.__mro__ if "__record__" in base.__dict__)

    # ------------------------------------------------------------ made when first used

    def _first_init(self, *args, **named):
        cls = next(c for c in type(self).__mro__ if c.__dict__.get("__init__") is _first_init)
        cls.__init__ = init = _init(cls)
        init(self, *args, **named)

    def _init(cls):
        made = cls.__record__
        known, plain, by_name, body = {}, [], [], []
        for name, one in made.fields.items():
            known[f"_{name}"] = one.default if one.factory is _MISSING else one.factory
            has_default, makes = known[f"_{name}"] is not _MISSING, one.factory is not _MISSING
            value = name
            if makes:
                value = f"_{name}() if {name} is _{name} else {name}" if one.init else f"_{name}()"
            elif not one.init:
                value = f"_{name}"
            if one.init:
                taken = f"{name}=_{name}" if has_default else name
                (by_name if one.kw_only else plain).append(taken)
            if one.init or has_default:
                set_it = f"self.{name} = {value}"
                if made.frozen:
                    known[f"_set_{name}"] = _setter(cls, name)
                    set_it = f"_set_{name}(self, {value})"
                body.append(set_it)
        if hasattr(cls, "__post_init__"):
            body.append("self.__post_init__()")
        heads = ["self", *plain, *(["*", *by_name] if by_name else [])]
        text = f"def __init__({', '.join(heads)}):\n " + "\n ".join(body or ["pass"])
        exec(text, known)
        init = known["__init__"]
        init.__qualname__, init.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
        return init

    def _setter(cls, name):
        if hasattr(slot := getattr(cls, name, None), "__set__"):
            return slot.__set__
        return lambda record, value: object.__setattr__(record, name, value)

    def _twin(owner):
        """The same record as the standard library makes it."""
        import dataclasses

        made = owner.__record__
        same = {"__module__": owner.__module__, "__qualname__": owner.__qualname__}
        same["__annotations__"] = owner.__annotations__
        for name, one in made.own.items():
            given = {"init": one.init, "compare": one.compare, "metadata": one.metadata}
            if one.factory is not _MISSING:
                given["default_factory"] = one.factory
            elif one.default is not _MISSING:
                given["default"] = one.default
            same[name] = dataclasses.field(**given)
        twin = type(owner)(owner.__name__, owner.__bases__, same)
        return dataclasses.dataclass(twin, eq=False, frozen=made.frozen, kw_only=made.kw_only)

    class _Standard:
        """What the standard library keeps of a dataclass, made when it asks."""

        def __init__(self, name):
            self.name = name

        def __get__(self, record, cls):
            owner = _owner(cls)
            twin = _twin(owner)
            owner.__dataclass_params__ = twin.__dataclass_params__
            owner.__dataclass_fields__ = twin.__dataclass_fields__
            return getattr(twin, self.name)

    class _Signature:
        """What `help` says that the record takes."""

        def __get__(self, record, cls):
            from inspect import signature

            whole = signature(_twin(_owner(cls)).__init__)
            return whole.replace(parameters=list(whole.parameters.values())[1:])

    # ------------------------------------------------------------ shared by all

    @recursive_repr()
    def _repr(self):
        values = (f"{name}={getattr(self, name)!r}" for name in self.__record__.fields)
        return f"{type(self).__qualname__}({', '.join(values)})"

    def _eq(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        key = self.__record__.key
        return key(self) == key(other)

    def _hash(self):
        return hash(self.__record__.key(self))

    def _no_set(self, name, value):
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def _no_delete(self, name):
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def _state(self):
        return [getattr(self, name) for name in self.__record__.fields]

    def _set_state(self, state):
        for name, value in zip(self.__record__.fields, state, strict=True):
            object.__setattr__(self, name, value)

    _FIELDS, _PARAMS = _Standard("__dataclass_fields__"), _Standard("__dataclass_params__")
    _SIGNATURE = _Signature()
