"""A module of transformers -> what it takes, by its class, its config and its forward's names."""

from __future__ import annotations

import contextlib
import inspect
from dataclasses import replace
from typing import Any

from torch import nn

from interop.models.signature.types import BATCH, Argument, Signature

# Token numbers below this are special in most vocabularies.
_SPECIAL = 8
_TOKENS, _MORE_TOKENS = 16, 24
# Outputs that are no answer, but what a next step or an inquiry would want.
_LEAVE = (
    "past_key_values", "hidden_states", "attentions", "cross_attentions", "mems", "loss",
    "decoder_hidden_states", "decoder_attentions", "encoder_hidden_states", "encoder_attentions",
    "encoder_last_hidden_state", "reshaped_hidden_states", "auxiliary_outputs", "intermediate",
    "cache_params", "state", "text_model_output", "vision_model_output", "router_logits",
    "intermediate_hidden_states", "intermediate_reference_points",
)  # fmt: skip
_SPEECH = "ForConditionalGeneration"


def is_one(module: nn.Module) -> bool:
    """Whether a module is one of transformers', told without importing the library."""
    kinds = {k.__name__ for k in type(module).__mro__}
    return "PreTrainedModel" in kinds and hasattr(module, "config")


def signature(module: Any) -> Signature:
    """The inputs that the class is served with: what training alone gives is left out."""
    config, name = module.config, type(module).__name__
    for holder in (config, *(getattr(config, k, None) for k in ("decoder", "text_config"))):
        if getattr(holder, "use_cache", None):
            holder.use_cache = False  # the cache of a step before is no input here
    _plain_experts(module)
    takes = set(inspect.signature(module.forward).parameters)
    main = module.main_input_name
    if main == "input_features":
        return _features(module, config, name, takes)
    if main == "input_values":
        return _sound(config, name, takes)
    if main == "pixel_values" and "input_ids" not in takes:
        return _pictures(module, config, name)
    arguments, sizes, others = _text(config, name, takes)
    if "pixel_values" in takes:
        picture = _pictures(module, config, name)
        arguments = [*arguments, *picture.arguments]
        sizes, others = {**sizes, **picture.sizes}, {**others, **picture.others}
    signature = Signature(tuple(arguments), sizes, others, by_name=True, leave=_LEAVE)
    if takes_batches(module):
        return signature
    return replace(signature, sizes={**sizes, BATCH: 1}).fixed(BATCH)


def _plain_experts(module: Any) -> None:
    """Experts by batched products: the fused one of all is an operator that no exporter knows."""
    if hasattr(module, "set_experts_implementation"):
        with contextlib.suppress(Exception):  # the class has no experts, and says so in many ways
            module.set_experts_implementation("batched_mm")


def takes_batches(module: Any) -> bool:
    """Whether a class takes more than one text at a time.

    Decoders that classify look for the last token that is no padding, and say so where the config
    names no padding.
    """
    text = getattr(module.config, "text_config", None) or module.config
    decoder = not getattr(module.config, "is_encoder_decoder", False)
    looks = type(module).__name__.endswith("ForSequenceClassification") and decoder
    return not looks or text.pad_token_id is not None or not hasattr(module, "score")


def _text(
    config: Any, name: str, takes: set[str]
) -> tuple[list[Argument], dict[str, int], dict[str, int]]:
    text = getattr(config, "text_config", None) or config
    size = int(getattr(text, "vocab_size", 100) or 100)
    low = min(_SPECIAL, size // 2)
    high = max(size - _SPECIAL, low + 1)
    end = getattr(text, "eos_token_id", None)
    end = end if isinstance(end, int) and end < size else None
    choices = name.endswith("ForMultipleChoice")
    axes: tuple[int | str, ...] = (BATCH, "choices", "sequence") if choices else (BATCH, "sequence")
    most = _number(text, "max_position_embeddings", "n_positions") or 512
    # One token fewer than there are positions: some families count the padding among them.
    step = _attention_step(text)
    first = max(min(_TOKENS, most - 2), 2)
    sizes = {"sequence": max(first // step * step, step) if step > 1 else first}
    other = sizes["sequence"] + (step if step > 1 else _MORE_TOKENS - _TOKENS)
    others = {"sequence": other if other <= most - 2 else max(sizes["sequence"] - 3, 1)}
    if choices:
        sizes["choices"], others["choices"] = 2, 3
    arguments = [Argument("input_ids", axes, "int64", "whole", low, high, end)]
    if "attention_mask" in takes:
        arguments.append(Argument("attention_mask", axes, "int64", "mask"))
    kinds = int(getattr(text, "type_vocab_size", 0) or 0)
    if "token_type_ids" in takes and kinds > 1:
        arguments.append(Argument("token_type_ids", axes, "int64", "whole", 0, 2))
    both = getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in takes
    # Classifiers make the decoder's tokens of the encoder's.
    if both and not name.endswith(("Classification", "QuestionAnswering")):
        decoder: tuple[int | str, ...] = (BATCH, "decoder_sequence")
        arguments.append(Argument("decoder_input_ids", decoder, "int64", "whole", low, high))
        sizes["decoder_sequence"], others["decoder_sequence"] = 5, 9
    return arguments, sizes, others


def _attention_step(config: Any) -> int:
    """What a sequence must be a multiple of, where attention goes by windows or blocks."""
    window = getattr(config, "attention_window", None)
    if isinstance(window, (list, tuple)) and window:
        window = max(window)
    block = getattr(config, "block_size", None)
    if isinstance(window, int) and window:
        return window
    return 4 * block if isinstance(block, int) and hasattr(config, "num_random_blocks") else 1


def _pictures(module: Any, config: Any, name: str) -> Signature:
    if getattr(config, "image_size", None) is None:  # the seeing half of a model of two
        config = getattr(config, "vision_config", config)
    side = getattr(config, "image_size", None)
    if side is None:
        side = getattr(getattr(config, "backbone_config", None), "image_size", None) or 224
    height, width = side if isinstance(side, (list, tuple)) else (side, side)
    channels = int(getattr(config, "num_channels", 3) or 3)
    frames = getattr(config, "num_frames", None)
    front: tuple[int | str, ...] = (BATCH, frames) if isinstance(frames, int) else (BATCH,)
    argument = Argument("pixel_values", (*front, channels, "height", "width"))
    sizes = {"height": int(height), "width": int(width)}
    others = {axis: size + 32 for axis, size in sizes.items()}
    role = "pixel classes" if "Segmentation" in name else ""
    return Signature((argument,), sizes, others, by_name=True, leave=_LEAVE, role=role)


def _sound(config: Any, name: str, takes: set[str]) -> Signature:
    bins = getattr(config, "num_mel_bins", None)
    if isinstance(bins, int) and hasattr(config, "max_length"):  # a spectrogram of one length
        length = int(config.max_length)
        return Signature(
            (Argument("input_values", (BATCH, length, bins)),), by_name=True, leave=_LEAVE
        )
    arguments = [Argument("input_values", (BATCH, "samples"))]
    # Models that normalise every layer are served with a mask, the others without: their feature
    # extractors have it so.
    if getattr(config, "feat_extract_norm", "") == "layer" and "attention_mask" in takes:
        arguments.append(Argument("attention_mask", (BATCH, "samples"), "int64", "mask"))
    sizes, others = {"samples": 8000}, {"samples": 12000}
    return Signature(tuple(arguments), sizes, others, by_name=True, leave=_LEAVE)


def _features(module: Any, config: Any, name: str, takes: set[str]) -> Signature:
    bins = _number(config, "num_mel_bins", "feature_size") or 80
    if getattr(config, "model_type", "") == "whisper":
        shape: tuple[int | str, ...] = (BATCH, bins, 2 * _number(config, "max_source_positions"))
        sizes: dict[str, int] = {}
    else:
        width = _number(config, "input_feat_per_channel", "feature_projection_input_dim") or bins
        shape, sizes = (BATCH, "frames", width), {"frames": 64}
    argument = Argument("input_features", shape)
    others = {axis: size + 32 for axis, size in sizes.items()}
    # Of a model that writes what it hears, the encoder is exported: what it hears.
    part = ""
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in takes:
        part = "model.encoder" if name.endswith(_SPEECH) else "encoder"
    return Signature((argument,), sizes, others, part, by_name=True, leave=_LEAVE)


def _number(config: Any, *fields: str) -> int:
    """The first of some fields that holds a number; 0 where none does."""
    values = (getattr(config, field, None) for field in fields)
    return next((v for v in values if isinstance(v, int) and v), 0)
