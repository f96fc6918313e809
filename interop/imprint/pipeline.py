"""An identity and unlabelled inputs -> how the model was fed (`Fed`).

The module is built as export builds it, once for each architecture that has its weights, and the
preparations are ranked by what its BatchNorms remember.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from interop.data import open_data
from interop.data.base import Record
from interop.errors import DataError, ModelError, Unsettled
from interop.facts import (
    Evidence,
    Fed,
    FedAnswer,
    Identity,
    Preprocessing,
    Standing,
    TaskName,
    TriedPreparation,
)
from interop.identity.imprint import FEWEST_BATCHES
from interop.identity.metadata import parse_preprocessing, preprocessing_json
from interop.imprint import answers, candidates
from interop.imprint.answers import FLOOR, Answer, Question
from interop.imprint.layers import divergences, normalizations
from interop.imprint.search import Images, Trial, search, takes
from interop.models import built

WANTED = 64  # inputs; more of them decide nothing more
FEWEST = 8
FAR = 0.5  # a divergence beyond which another activation is no explanation
MOST_ARCHITECTURES = 6
SECONDS = 75.0
_SHOWN = 6  # best preparations; what answers a question otherwise is shown too
# What an activation may be in place of another, if a module's own is not what it was trained with.
_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU, "SiLU": nn.SiLU, "GELU": nn.GELU, "Hardswish": nn.Hardswish,
    "LeakyReLU(0.1)": lambda: nn.LeakyReLU(0.1), "ELU": nn.ELU,
}  # fmt: skip
_KINDS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.LeakyReLU, nn.ELU, nn.Mish)
_FIX = "give a folder of pictures, or an .npz with one array of them"
Say = Callable[[str], None]


def measure(
    identity: Identity,
    data: str | Path,
    *,
    factory: str | None = None,
    head: str | None = None,
    arch: str | None = None,
    trust: bool = False,
    stated: Sequence[Preprocessing] = (),
    sizes: Sequence[int] = candidates.SIZES,
    task: str | None = None,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    seconds: float = SECONDS,
    say: Say = lambda _: None,
) -> Fed:
    """Return how the model was fed, by images of the kind that it was trained on (or arrays).

    `data` is what `open_data` takes for pictures, labelled or not, or an .npz file with one array.
    `factory`, `head`, `arch` and `trust` are those of `interop.models.built`, `task`, `columns` and
    `split` those of `open_data`; preparations that are `stated` are tried besides those of `sizes`.
    Raises DataError for data that are neither, and what `built` raises.
    """
    say("reading the images")
    images = _images(data, task, columns, split)
    nothing = Fed(str(data), len(images), WANTED, FLOOR)
    modules = _modules(identity, factory, head, arch, trust, say)
    module = next(iter(modules.values()))
    if why := silent(module) or _too_few(images):
        return replace(nothing, why=why)
    own = [h for h in (identity.image_preprocessing, *stated) if h is not None]
    trials = search(modules, images, stated=own, sizes=sizes, seconds=seconds, say=say)
    if not trials or not trials[0].complete:
        why = f"the module does not take a batch of such images{_channels(module, images)}"
        return replace(nothing, why=why)
    far = not FLOOR < trials[0].median < FAR
    if not far and len(modules) == 1 and (swapped := dict(_swapped(module))):
        say("other activations")
        best = [t.how for t in trials[:2]]
        more = search(swapped, images, sizes=(), stated=best, say=say)
        numbers = {t.how: t.numbers for t in trials}
        trials = _sorted(
            [*trials, *(replace(t, numbers=numbers.get(t.how, t.numbers)) for t in more)]
        )
    order = names(module, trials[0], images)
    fed = _fed(nothing, trials, order, answers.asked_of(identity.ambiguity))
    if fed.preprocess is not None and images.arrays is not None:
        why = "arrays do not show how pictures become them; give a folder of pictures"
        fed = replace(fed, preprocess=None, unmeasured=why)
    at = next((t for t in trials if t.complete and t.how == identity.image_preprocessing), None)
    return replace(fed, stated=None if at is None else at.median)


def stated_divergence(module: nn.Module, inputs: torch.Tensor) -> float | None:
    """Return the median divergence over layers of inputs as they were prepared, float32 (n, C,
    height, width); None if nothing can be said of the module."""
    if silent(module) or len(inputs) < FEWEST:
        return None
    try:
        layers = divergences(module, inputs)
    except Exception:  # a module may raise anything
        return None
    return float(np.median(layers)) if layers else None


def silent(module: nn.Module) -> str:
    """Return why a module's statistics say nothing; "" if they may."""
    layers = normalizations(module)
    if not layers:
        return "it has no BatchNorm, which alone remembers its inputs"
    first = layers[0]
    mean, variance = first.running_mean, first.running_var
    assert isinstance(mean, torch.Tensor) and isinstance(variance, torch.Tensor)
    if bool((mean == 0).all() and (variance == 1).all()):
        return "its running statistics are the initial 0 and 1: they were never trained"
    tracked = getattr(first, "num_batches_tracked", None)
    # A file from before torch 0.4.1 has no count, and loads as 0.
    if tracked is not None and 0 < int(tracked) < FEWEST_BATCHES:
        return (
            f"only {int(tracked)} batches were tracked, fewer than {FEWEST_BATCHES}: its "
            "statistics have not settled"
        )
    return ""


def preparation(fed: Fed, identity: Identity) -> Preprocessing:
    """Return the preparation that was measured. Raises Unsettled if it is undecided."""
    if fed.preprocess is not None:
        how = parse_preprocessing(fed.preprocess, f"measured on {fed.samples} images of {fed.data}")
        assert isinstance(how, Preprocessing)
        return replace(how, evidence=Evidence.MEASURED)
    why = fed.why or fed.unmeasured
    if not why and not fed.within:
        why = (
            f"the images are not of the kind that it was trained on (divergence "
            f"{fed.divergence:.3g}, at most {fed.floor:g})"
        )
    open_ = [a for a in fed.answers if a.standing is Standing.UNDECIDED and a.question in REQUIRED]
    why = why or "; ".join(f"{a.question}: {' or '.join((a.answer, *a.others))}" for a in open_)
    fix = "state the preparation with --preprocess"
    if fed.within and fed.tried and not fed.unmeasured:
        fix += f" (the best that was tried: '{json.dumps(fed.tried[0].preprocess)}')"
    if fed.samples < fed.wanted:
        fix += f", or give {fed.wanted - fed.samples} more images"
    raise Unsettled(
        f"its preparation cannot be measured: {why}",
        where=identity.manifest.path, fix=fix, rule="preprocessing-unknown",
    )  # fmt: skip


# ---------------------------------------------------------------- what is given


def _images(
    data: str | Path, task: str | None, columns: Mapping[str, str] | None, split: str | None
) -> Images:
    task = task or TaskName.IMAGE_CLASSIFICATION
    try:
        records = open_data(data, task, None, columns=columns, split=split).spread(WANTED)
    except DataError as error:  # it asks for classes, which are not needed here
        raise DataError(error.what, where=error.where, fix=_FIX) from None
    pictures = [r.raw for r in records if isinstance(r.raw, Image.Image)]
    return Images(pictures) if len(pictures) == len(records) else _arrays(records, str(data))


def _arrays(records: Sequence[Record], where: str) -> Images:
    """Arrays of pictures: bytes or 0 to 1 are raw, others were prepared by somebody."""
    first = records[0].raw
    if not isinstance(first, Mapping) or len(first) != 1:
        names = ", ".join(first) if isinstance(first, Mapping) else type(first).__name__
        what = f"holds {names}, not pictures or one array of them"
        raise DataError(what, where=where, fix=_FIX)
    (name,) = first
    stacked = np.stack([r.raw[name] for r in records])
    if stacked.ndim == 4 and stacked.shape[-1] in (1, 3) and stacked.shape[1] not in (1, 3):
        stacked = stacked.transpose(0, 3, 1, 2)
    if stacked.ndim != 4 or stacked.dtype.kind not in "fu":
        what = f"each row of {name!r} is {stacked.dtype} of shape {stacked.shape[1:]}, not an image"
        raise DataError(what, where=where, fix="save images as float32 or uint8 (n, C, H, W)")
    if not np.isfinite(stacked).all():
        what = f"{name!r} holds values that are not finite"
        raise DataError(what, where=where, fix="take those rows out")
    planes = torch.from_numpy(np.ascontiguousarray(stacked, dtype=np.float32))
    low, high = float(planes.min()), float(planes.max())
    if stacked.dtype == np.uint8 or (low >= 0 and 2 < high <= 255):
        return Images(arrays=planes / 255)
    return Images(arrays=planes, raw=low >= 0 and high <= 1)


def _channels(module: nn.Module, images: Images) -> str:
    wanted, given = takes(module), None if images.arrays is None else images.arrays.shape[1]
    return f": they have {given} channels, it takes {wanted}" if given not in (None, wanted) else ""


def _too_few(images: Images) -> str:
    if len(images) >= FEWEST:
        return ""
    return f"{len(images)} images are too few: give {WANTED - len(images)} more"


def _modules(
    identity: Identity,
    factory: str | None,
    head: str | None,
    arch: str | None,
    trust: bool,
    say: Say,
) -> dict[str, nn.Module]:
    """The module; of several architectures that have the weights, a module each, by name."""
    known = () if factory or arch else identity.architectures
    if len(known) < 2:
        say("building the module")
        return {"": _loaded(identity, factory, head, arch, trust)}
    modules = {}
    for one in known[:MOST_ARCHITECTURES]:
        say(f"building {one.name}")
        modules[one.name] = _loaded(identity, factory, head, one.name, trust)
    return modules


def _loaded(
    identity: Identity, factory: str | None, head: str | None, arch: str | None, trust: bool
) -> nn.Module:
    module, proof, _ = built(identity, factory=factory, head=head, arch=arch, trust=trust)
    if not proof.holds:
        fix = "give the module that it is of with --model, or its architecture with --arch"
        raise ModelError(proof.what, where=identity.manifest.path, fix=fix)
    return module.float().eval()


def _swapped(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The module with each other activation in place of its own; the weights are shared."""
    own = {type(m) for m in module.modules() if isinstance(m, _KINDS)}
    if len(own) != 1:
        return
    for name, make in _ACTIVATIONS.items():
        if type(make()) in own:
            continue
        shared = {id(t): t for t in (*module.parameters(), *module.buffers())}
        other = copy.deepcopy(module, shared)
        for parent in other.modules():
            for child, of in parent.named_children():
                if isinstance(of, _KINDS):
                    setattr(parent, child, make())
        yield f"with {name} in place of {own.copy().pop().__name__}", other


# ---------------------------------------------------------------- what is said


# Without an answer to these nothing is called measured; filter and crop cost little accuracy.
REQUIRED = tuple(q.name for q in (answers.SCALE, answers.NUMBERS, answers.INVERTED, answers.COLOR,
                                  answers.SIZE, answers.VARIANT))  # fmt: skip


def _sorted(trials: Sequence[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda t: t.rank)


def _fed(
    nothing: Fed, trials: Sequence[Trial], layers: tuple[str, ...], asked: Sequence[Question]
) -> Fed:
    best = trials[0]
    found = [a for q in asked if (a := answers.asked(q, trials, best)) is not None]
    given = tuple(_answered(a, best, trials) for a in found)
    shown: dict[object, Trial] = {}
    others = [answers.next_best(q, trials, best) for q in asked]
    for trial in (*[t for t in trials if t.complete][:_SHOWN], *filter(None, others)):
        shown.setdefault((trial.how, trial.variant), trial)
    tried = tuple(
        TriedPreparation(
            preprocessing_json(t.how), t.numbers, t.variant, t.median, t.near,
            t.median / max(best.median, 1e-9), t.layers,
        )
        for t in sorted(shown.values(), key=lambda t: (t != best, t.median))
    )  # fmt: skip
    fed = replace(nothing, tried=tried, answers=given, layers=layers)
    open_ = {a.question for a in given if a.standing in (Standing.UNDECIDED, Standing.FOREIGN)}
    if open_ & set(REQUIRED) or not fed.within:
        return fed
    # Questions are judged by other layers than the best is chosen by: all have to agree on it.
    apart = [a.question.name for a in found if a.question is not answers.NUMBERS
             and a.question.name in REQUIRED and a.value != a.question.answer(best)]  # fmt: skip
    if apart:
        fed = replace(fed, unmeasured=f"the first and the later layers disagree ({apart[0]})")
    else:
        numbers = next((a.trial for a in found if a.question is answers.NUMBERS), best)
        how = replace(best.how, mean=numbers.how.mean, std=numbers.how.std, scale=numbers.how.scale)
        fed = replace(fed, preprocess=preprocessing_json(how))
    return fed


def _answered(answer: Answer, best: Trial, trials: Sequence[Trial]) -> FedAnswer:
    question = answer.question
    if best.median > FLOOR and not answers.survives(question, answer, trials):
        standing = Standing.FOREIGN
    elif answer.ratio is None:
        standing = Standing.NOT_ASKED
    else:
        standing = Standing.MEASURED if answer.decided else Standing.UNDECIDED
    said = tuple(_said(question, value, answer.trial) for value in (answer.value, *answer.others))
    return FedAnswer(question.name, standing, said[0], said[1:], answer.ratio, question.ratio)


def _said(question: Question, value: Hashable, trial: Trial) -> str:
    """An answer in words."""
    if question is answers.SCALE:
        return "0 to 255" if value else "not 0 to 255"
    if question is answers.INVERTED:
        return "inverted" if value else "not inverted"
    if question is answers.CROP:
        return "cropped from the middle" if value else "not cropped"
    if question is answers.SIZE and isinstance(value, tuple):
        return "x".join(map(str, value))
    if question is answers.FILTER and isinstance(value, tuple):
        name, smooth = value
        return f"{name} with antialiasing" if smooth else f"{name} without antialiasing"
    if question is answers.NUMBERS and value == trial.numbers != candidates.AS_THEY_ARE:
        return f"{value} ({candidates.in_words(trial.how)})"
    return str(value)


def names(module: nn.Module, best: Trial, images: Images) -> tuple[str, ...]:
    """The names of the BatchNorms in the order in which they run."""
    by_id = {id(m): name for name, m in module.named_modules()}
    order: list[str] = []
    hooks = [
        m.register_forward_pre_hook(lambda m, _: order.append(by_id[id(m)]))
        for m in normalizations(module)
    ]
    try:
        with torch.no_grad():
            module(images.inputs(best.how, 2)[:2])
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(dict.fromkeys(order))
