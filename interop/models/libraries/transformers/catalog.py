"""transformers' classes -> modules and entries, in memory and as they are saved.

A class of free size is built with a tiny config whose sizes are all different; what is saved is
found by saving it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from interop.errors import ModelError
from interop.facts import HeadInput, HeadRole
from interop.identity.index.build import IndexEntry
from interop.models.libraries.transformers.families import ENDINGS, FAMILIES, LABELS, Config, Family

if TYPE_CHECKING:
    from torch import nn

# What the outputs of a class are, by the ending of its name.
_ROLES = {
    "ForSequenceClassification": HeadRole.CLASSES,
    "ForImageClassification": HeadRole.CLASSES,
    "ForAudioClassification": HeadRole.CLASSES,
    "ForTokenClassification": HeadRole.TOKEN_CLASSES,
    "ForQuestionAnswering": HeadRole.ANSWER_SPAN,
    "ForMultipleChoice": HeadRole.CHOICE,
    "ForMaskedLM": HeadRole.VOCABULARY,
    "ForCausalLM": HeadRole.VOCABULARY,
    "LMHeadModel": HeadRole.VOCABULARY,
    "ForConditionalGeneration": HeadRole.VOCABULARY,
    "MTModel": HeadRole.VOCABULARY,
    "ForSemanticSegmentation": HeadRole.PIXEL_CLASSES,
    "ForDepthEstimation": HeadRole.DEPTH,
    "ForCTC": HeadRole.CHARACTERS,
}
# Heads that are not the one module outside of the root, by the class; the main one first.
_HEADS: dict[str, tuple[tuple[str, HeadRole], ...]] = {
    "DeiTForImageClassificationWithTeacher": (
        ("cls_classifier", HeadRole.CLASSES),
        ("distillation_classifier", HeadRole.DISTILLATION),
    ),
    "DetrForObjectDetection": (
        ("class_labels_classifier", HeadRole.BOX_CLASSES),
        ("bbox_predictor", HeadRole.BOXES),
    ),
    "YolosForObjectDetection": (
        ("class_labels_classifier", HeadRole.BOX_CLASSES),
        ("bbox_predictor", HeadRole.BOXES),
    ),
    "BertForPreTraining": (
        ("cls.predictions", HeadRole.VOCABULARY),
        ("cls.seq_relationship", HeadRole.SENTENCE_ORDER),
    ),
    "AlbertForPreTraining": (
        ("predictions", HeadRole.VOCABULARY),
        ("sop_classifier", HeadRole.SENTENCE_ORDER),
    ),
    "ElectraForPreTraining": (("discriminator_predictions", HeadRole.TOKEN_CLASSES),),
    "ViTMAEForPreTraining": (("decoder.decoder_pred", HeadRole.PIXELS),),
    "BeitForSemanticSegmentation": (
        ("decode_head.classifier", HeadRole.PIXEL_CLASSES),
        ("auxiliary_head.classifier", HeadRole.AUXILIARY_PIXEL_CLASSES),
    ),
    "SegformerForSemanticSegmentation": (("decode_head.classifier", HeadRole.PIXEL_CLASSES),),
    "MobileNetV2ForSemanticSegmentation": (
        ("segmentation_head.classifier", HeadRole.PIXEL_CLASSES),
    ),
    "MobileViTForSemanticSegmentation": (("segmentation_head.classifier", HeadRole.PIXEL_CLASSES),),
    "MobileViTV2ForSemanticSegmentation": (
        ("segmentation_head.classifier", HeadRole.PIXEL_CLASSES),
    ),
    "DPTForSemanticSegmentation": (
        ("head.head.4", HeadRole.PIXEL_CLASSES),
        ("auxiliary_head.head.4", HeadRole.AUXILIARY_PIXEL_CLASSES),
    ),
    "DPTForDepthEstimation": (("head.head.4", HeadRole.DEPTH),),
}
_TOPS = ("lm_head", "proj_out", "qa_outputs", "projector", "classifier")
# Side branches that serve training alone.
_OPTIONAL = ("auxiliary_head",)
# Families of which a classifier is handed the vector of a first token.
_TOKEN = (
    "Bert", "Roberta", "XLMRoberta", "Camembert", "DistilBert", "Albert", "Electra", "Deberta",
    "MPNet", "ModernBert", "ViT", "DeiT", "AST",
)  # fmt: skip
_PER_ELEMENT = {
    HeadRole.TOKEN_CLASSES: HeadInput.SEQUENCE,
    HeadRole.ANSWER_SPAN: HeadInput.SEQUENCE,
    HeadRole.VOCABULARY: HeadInput.SEQUENCE,
    HeadRole.CHARACTERS: HeadInput.SEQUENCE,
    HeadRole.PIXEL_CLASSES: HeadInput.MAP,
    HeadRole.DEPTH: HeadInput.MAP,
    HeadRole.BOX_CLASSES: HeadInput.SEQUENCE,
}


def names() -> list[str]:
    return list(_families())


def module(name: str, **overrides: Any) -> nn.Module:
    """The class's module: its default config, but for the fields that are given."""
    return _build(name, overrides)


def meta(name: str, **overrides: Any) -> nn.Module:
    from interop.models.init_modes import EmptyOnMeta

    with EmptyOnMeta():
        return _build(name, overrides)


def entries(name: str) -> list[IndexEntry]:
    """The class in each of its configs: as it is in memory and, where that differs, on disk."""
    family = _family(name)
    index_entries: list[IndexEntry] = []
    for config in configs(name):
        built = _empty(name, config)
        memory = {k: tuple(v.shape) for k, v in built.state_dict().items()}
        disk = _saved(built)
        sizes = family.sizes if family.tiny else {}
        forms = [memory] if disk == memory else [memory, disk]
        index_entries += [_entry(name, built, shapes, sizes) for shapes in forms]
    return _distinct(index_entries)


def hollow(name: str, entry: IndexEntry, **overrides: Any) -> nn.Module:
    """The class in the config that the entry is of."""
    return _build(name, {**_config_of(name)[tuple(entry.shapes.items())], **overrides})


def outline(name: str, entry: IndexEntry) -> nn.Module:
    return meta(name, **_config_of(name)[tuple(entry.shapes.items())])


def input_size(name: str) -> tuple[int, ...] | None:
    return None


def inputs(name: str, module: nn.Module, size: tuple[int, ...] | None) -> dict[str, Any]:
    import torch

    seed = torch.Generator().manual_seed(1)
    built: Any = module
    config, main = built.config, built.main_input_name
    if main == "input_ids":
        # Beyond the special tokens' numbers, but for the end that some classifiers look for.
        tokens = torch.randint(8, config.vocab_size - 8, (1, 9), generator=seed)
        end = getattr(config, "eos_token_id", None)
        if isinstance(end, int) and end < config.vocab_size:
            tokens[:, -1] = end
        tokens = tokens[None] if name.endswith("ForMultipleChoice") else tokens
        both = getattr(config, "is_encoder_decoder", False)
        return {main: tokens, "decoder_input_ids": tokens.clone()} if both else {main: tokens}
    if main == "input_values":
        return {main: torch.randn((1, 4000), generator=seed)}
    side = getattr(config, "image_size", 224)
    sides = side if isinstance(side, (list, tuple)) else (side, side)
    return {main: torch.rand((1, config.num_channels, *sides), generator=seed)}


def stated(name: str, module: nn.Module) -> dict[str, Any]:
    built: Any = module
    acts = ("hidden_act", "activation_function", "feed_forward_proj")
    return {
        "activation": next((a for f in acts if (a := getattr(built.config, f, None))), ""),
        "tied vocabulary": getattr(built.config, "tie_word_embeddings", None),
    }


@cache
def _config_of(name: str) -> Mapping[object, Config]:
    """The config of each form, by its names and shapes."""
    forms: dict[object, Config] = {}
    for config in configs(name):
        built = _empty(name, config)
        memory = {k: tuple(v.shape) for k, v in built.state_dict().items()}
        for shapes in (memory, _saved(built)):
            forms.setdefault(tuple(shapes.items()), config)
    return forms


def configs(name: str) -> list[Config]:
    """The fields of each config that a class stands in the index with."""
    family = _family(name)
    configs: list[Config] = []
    if family.tiny:
        configs += [{**family.tiny, **variant} for variant in family.variants]
    # An answer's start and end are two by nature.
    labels = {} if name.endswith("ForQuestionAnswering") else {"num_labels": LABELS}
    return [{**config, **labels} for config in (*configs, *family.published)]


@cache
def _families() -> Mapping[str, Family]:
    """Each class that there is, with its family."""
    import transformers

    there = set(dir(transformers))
    return {
        family.prefix + ending: family
        for family in FAMILIES
        for ending in family.classes or ENDINGS
        if family.prefix + ending in there
    }


def _family(name: str) -> Family:
    try:
        return _families()[name]
    except KeyError:
        what = f"no class {name!r} of transformers is known here"
        raise ModelError(what, fix="interop.models.catalog.names('transformers') has all") from None


def _build(name: str, fields: Config) -> nn.Module:
    import transformers

    kind = getattr(transformers, name, None)
    if kind is None or not hasattr(kind, "config_class"):
        raise ModelError(f"the transformers here has no {name!r}", fix="install a newer one")
    with quiet():
        try:
            built: nn.Module = kind(kind.config_class(**fields))
        except (TypeError, ValueError) as error:
            fix = "change the config"
            raise ModelError(str(error), where=f"transformers/{name}", fix=fix) from None
    return built


def _empty(name: str, fields: Config) -> nn.Module:
    """The module with memory for its weights, which no numbers were drawn for."""
    built: Any = meta(name, **fields)
    built = built.to_empty(device="cpu")
    built.tie_weights()
    kept: nn.Module = built
    return kept


def _saved(built: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what `save_pretrained` writes, in the order of the definition.

    The file sorts its names; so every tensor is filled with its place in the definition first.
    """
    from safetensors.torch import load_file

    for place, tensor in enumerate(built.state_dict().values()):
        tensor.fill_(place)
    with TemporaryDirectory() as folder, quiet():
        built.save_pretrained(folder)
        saved = load_file(Path(folder) / "model.safetensors")
    order = {name: (float(tensor.flatten()[0]), name) for name, tensor in saved.items()}
    return {name: tuple(saved[name].shape) for name in sorted(saved, key=order.__getitem__)}


def _entry(
    name: str, built: Any, shapes: dict[str, tuple[int, ...]], sizes: Mapping[str, int]
) -> IndexEntry:
    root = _root(built, shapes)
    heads = tuple(
        (path, role)
        for path, role in _heads(name, root, shapes)
        if any(key.startswith(f"{path}.") for key in shapes)
    )
    role = heads[0][1] if heads else HeadRole.UNKNOWN
    return IndexEntry(
        f"transformers/{name}",
        shapes,
        heads=heads,
        takes=_takes(name, role),
        optional=tuple(p for p in _OPTIONAL if any(k.startswith(f"{p}.") for k in shapes)),
        root=root,
        base=f"transformers/{type(built.get_submodule(root)).__name__}" if root else "",
        sizes={k: v for k, v in sizes.items() if _follows(k, v, shapes)},
    )


def _root(built: Any, shapes: Mapping[str, tuple[int, ...]]) -> str:
    prefix: str = getattr(built, "base_model_prefix", "")
    within = [key.startswith(f"{prefix}.") for key in shapes]
    bare = type(built).__name__ == _family(type(built).__name__).prefix + "Model"
    return prefix if prefix and any(within) and not bare else ""


def _heads(
    name: str, root: str, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[tuple[str, HeadRole], ...]:
    if name in _HEADS:
        return _HEADS[name]
    role = next((role for ending, role in _ROLES.items() if name.endswith(ending)), None)
    if not role:
        return ()
    tops = dict.fromkeys(key.partition(".")[0] for key in shapes if "." in key)
    # Without a root, what is known to be a head by its name stands beside the model's own parts.
    outside = [top for top in tops if (top != root if root else top in _TOPS)]
    # What lies between the root and the last layer was trained with it.
    return tuple(
        (top, role if top == outside[-1] else HeadRole.PROJECTION) for top in outside[::-1]
    )


def _takes(name: str, role: HeadRole) -> HeadInput:
    if role in _PER_ELEMENT:
        return _PER_ELEMENT[role]
    if role == HeadRole.CLASSES and any(name.startswith(f"{family}For") for family in _TOKEN):
        return HeadInput.TOKEN
    return HeadInput.UNKNOWN


def _follows(field: str, value: int, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a size is one that the shapes tell: a dimension, a multiple of it, or a count."""
    if field.endswith(("layers", "n_layer", "num_local_experts")):
        side = re.search("encoder|decoder", field)
        return value in _counts(shapes, side[0] if side else "")
    widths = {width for shape in shapes.values() for width in shape}
    return any(value * by + more in widths for by in (1, 2, 3, 4) for more in (0, 1, 2, 3))


def _counts(shapes: Mapping[str, tuple[int, ...]], within: str) -> set[int]:
    """How many numbered parts each list of modules has whose path holds a word."""
    lists: dict[str, set[str]] = {}
    for key in shapes:
        for match in re.finditer(r"\.(\d+)(?=\.)", f".{key}"):
            lists.setdefault(f".{key}"[: match.start()], set()).add(match[1])
    return {len(numbers) for path, numbers in lists.items() if within in path}


def _distinct(entries: list[IndexEntry]) -> list[IndexEntry]:
    """Without those that another config gave already."""
    kept: dict[tuple[Any, ...], IndexEntry] = {}
    for entry in entries:
        kept.setdefault((tuple(entry.shapes.items()), entry.heads), entry)
    return list(kept.values())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the library's advice on special tokens and its progress bars."""
    from transformers.utils import logging

    log: Any = logging
    before, shown = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if shown:
            log.enable_progress_bar()
