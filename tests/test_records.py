"""A record is what the standard library makes of the same class, but for the time it takes."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Mapping
from typing import Any

import pytest

import interop.records as ours
from interop.facts import TensorSpec


def made(by: Any) -> dict[str, Any]:
    """Classes of each kind that is used here, by one of the two modules."""

    @by.dataclass(frozen=True, slots=True)
    class Base:
        """Whatever is frozen."""

        name: str
        size: int = 2
        more: Mapping[str, int] = by.field(default_factory=dict)
        source: str = by.field(default="", compare=False, metadata={"key": "from"})

        @property
        def double(self) -> int:
            return 2 * self.size

    @by.dataclass(frozen=True, slots=True, kw_only=True)
    class Derived(Base):
        size: int = 3
        other: bool = False

    @by.dataclass(slots=True)
    class Loose:
        given: int
        items: list[int] = by.field(default_factory=list)
        later: int = by.field(init=False)

        def __post_init__(self) -> None:
            self.later = self.given + 1

    @by.dataclass(slots=True, eq=False, repr=False)
    class Bare:
        value: int
        maker: Any = by.field(default=False, init=False)

    return {"Base": Base, "Derived": Derived, "Loose": Loose, "Bare": Bare}


OURS, THEIRS = made(ours), made(dataclasses)


def told(kinds: dict[str, Any]) -> list[object]:
    """What can be seen of the classes and of what is made by them."""
    base, derived, loose, bare = (kinds[n] for n in ("Base", "Derived", "Loose", "Bare"))
    one, two = base("a", 1, source="x"), base("a", size=1, source="y")
    return [
        repr(one).rpartition(".")[2], one == two, hash(("a", 1)) != hash(one.name), one.double,
        base("a") == base("b"), one == 3, one != two, base("a").more is base("a").more,
        repr(derived("n", other=True)).rpartition(".")[2], derived("n") == base("n", 3),
        [(f.name, f.init, f.compare, f.kw_only, f.type) for f in dataclasses.fields(derived)],
        [dict(f.metadata) for f in dataclasses.fields(base)],
        dataclasses.asdict(one), dataclasses.replace(one, size=5).size,
        ours.replace(one, size=5).size,
        dataclasses.is_dataclass(base), str(inspect.signature(derived)), base.__match_args__,
        derived.__match_args__, base.__slots__, derived.__slots__, hasattr(one, "__dict__"),
        repr(loose(1, [2])).rpartition(".")[2], loose(1) == loose(1), loose.__hash__,
        bare(1) == bare(1), bare(1).maker, copy.copy(one) == one, base.__doc__,
    ]  # fmt: skip


def test_both_make_the_same_of_a_class() -> None:
    for mine, theirs in zip(told(OURS), told(THEIRS), strict=True):
        assert mine == theirs


@pytest.mark.parametrize("kinds", [OURS, THEIRS])
def test_what_is_frozen_stays(kinds: dict[str, Any]) -> None:
    record = kinds["Derived"]("a")
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'size'"):
        record.size = 4
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'size'"):
        del record.size
    for given in ({}, {"name": "a", "none": 1}):
        with pytest.raises(TypeError):
            kinds["Base"](**given)
    loose = kinds["Loose"](1)
    loose.given = 7
    assert loose.given == 7


def test_a_dataclass_may_be_made_of_a_record() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Mine(OURS["Base"]):  # type: ignore[misc,name-defined]
        own: int = 9

    assert dataclasses.asdict(Mine("a")) == {
        "name": "a", "size": 2, "more": {}, "source": "", "own": 9,
    }  # fmt: skip


def test_records_can_be_pickled_and_hashed() -> None:
    spec = TensorSpec("w", "float32", (2, 3))
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301
    assert len({spec, TensorSpec("w", "float32", (2, 3)), spec.named("v")}) == 2


def test_a_record_compiles_nothing_until_it_is_made() -> None:
    fresh = made(ours)["Base"]
    first = fresh.__dict__["__init__"]
    fresh("a")
    assert fresh.__dict__["__init__"] is not first
