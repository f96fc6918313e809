"""What is assumed of weights that several architectures have, and what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from interop.errors import Unsettled
from interop.facts import Architecture, Identity, Manifest
from interop.identity.assumed import as_beside, assumption, first, plain, settled
from interop.identity.index import lookup

DECISIONS = Path(__file__).with_name("ambiguous_rows.txt")


def ambiguous_rows() -> Iterator[str]:
    """Each row of the index that names several architectures, with what is done about it."""
    index = lookup.load()
    rows = [(names, apart) for names, apart, *_ in (*index.exact, *index.free) if len(names) > 1]
    for names, apart in rows:
        seen = [Architecture(same[0], "", also=tuple(same[1:])) for same in names]
        assumed = plain(seen, apart)
        decision = f"assume {assumed.name}" if assumed else "ask"
        yield f"{decision} | {' '.join(a.name for a in seen)} | {apart}"


def test_each_ambiguous_row_of_the_index_has_its_decision() -> None:
    """Review a new row by hand before it is listed: `python -m tests.identity.test_assumed`."""
    assert sorted(set(ambiguous_rows())) == DECISIONS.read_text("utf-8").splitlines()


def identity(*names: str, apart: str = "anti-aliasing") -> Identity:
    seen = tuple(Architecture(n, "names and shapes") for n in names)
    return Identity(Manifest("a.pth", "", "", 0, "", ()), "", "", (), seen, apart)


RESNETS = ("timm/resnetblur50", "timm/resnetaa50", "timm/resnet50")


@pytest.mark.parametrize(
    ("names", "apart", "assumed"),
    [
        (RESNETS, "anti-aliasing", "timm/resnet50"),
        (("torchvision/quantized_mobilenet_v2", "torchvision/mobilenet_v2"), "activation",
         "torchvision/mobilenet_v2"),
        (("timm/resnet50", "timm/resnetaa50"), "input size, anti-aliasing", None),
        (("timm/tf_efficientnet_b0", "timm/efficientnet_b0"), "padding, epsilon", None),
        (("timm/vit_clip_224", "timm/vit_clip_quickgelu_224"), "activation", None),
        (("timm/resnetaa50", "timm/resnetblur50"), "anti-aliasing", None),
        (("timm/resnet50",), "", None),
    ],
)  # fmt: skip
def test_only_anti_aliasing_and_quantized_names_are_assumed_away(
    names: tuple[str, ...], apart: str, assumed: str | None
) -> None:
    of = identity(*names, apart=apart)
    one = plain(of.architectures, apart)
    assert (one.name if one else None) == assumed
    after = settled(of)
    if assumed is None:
        assert after is of
    else:
        assert after.architecture == assumed
        (made,) = after.assumptions
        assert set(made.others) == set(names) - {assumed}
        assert first(of.architectures, apart)[0].name == assumed


def test_strict_assumes_nothing() -> None:
    with pytest.raises(Unsettled, match="--arch") as raised:
        settled(identity(*RESNETS), strict=True)
    assert raised.value.exit_code == 3
    alone = identity("timm/resnet50", apart="")
    assert settled(alone, strict=True) is alone


def test_what_the_other_file_states_comes_first() -> None:
    bare = identity(*RESNETS)
    stated = identity("timm/resnetblur50", apart="")
    made = assumption(bare, stated)
    assert made is not None and (made.value, made.why) == ("timm/resnetblur50", "as a.pth states")
    assert as_beside(bare, stated).architectures[0].name == "timm/resnetblur50"
    other = identity("timm/vit_base_patch16_224", apart="")
    assert as_beside(bare, other) is bare
    assert as_beside(bare, replace(stated, assumptions=(made,))) is bare


if __name__ == "__main__":
    DECISIONS.write_text("\n".join(sorted(set(ambiguous_rows()))) + "\n", "utf-8")
