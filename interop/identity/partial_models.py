"""Tensors -> what they are where they are no plain model: an adapter, codes, several models in one.

Told by the field's own names of tensors; a file that has none of them is taken for a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from os.path import commonprefix

from interop.facts import Json, Manifest, StateDict, TensorSpec
from interop.identity.index.lookup import under
from interop.identity.prefix import strip_prefix
from interop.patterns import lazy

_ADAPTERS = (
    ("LoRA adapter", lazy(r"(^|[._])lora_(A|B|a|b|up|down|mid|embedding_[AB]|magnitude)")),
    ("LoRA adapter", lazy(r"(^|[._])lora(_linear_layer)?\.(up|down)\.")),
    ("LoHa or LoKr adapter", lazy(r"\.(hada_w[12]_[ab]|lokr_w[12](_[ab])?)$")),
    ("IA3 adapter", lazy(r"(^|\.)ia3_l(\.|$)")),
    ("prompt or prefix tuning", lazy(r"(^|\.)(prompt_embeddings|prompt_encoder\.\S+)$")),
    ("bottleneck adapter", lazy(r"\.adapters?\.\S*(down|up|adapter_down|adapter_up)\.")),
)
_QUANTIZED = (
    ("GPTQ or AWQ codes", lazy(r"\.(qweight|qzeros|g_idx)$")),
    ("bitsandbytes codes", lazy(r"\.(SCB|absmax|quant_map|quant_state\.\S+)$")),
    ("compressed-tensors codes", lazy(r"\.weight_(packed|shape)$")),
    ("float8 or int8 codes with scales", lazy(r"\.weight_scale(_inv|_2)?$")),
    ("HQQ codes", lazy(r"\.W_q$")),
    ("MXFP4 codes", lazy(r"\.\w+_proj_blocks$")),
    ("torch.ao codes", lazy(r"(^|\.)_packed_params(\._packed_params|\.dtype)?$")),
)
_LORA_OF = lazy(r"(.+)\.lora_(?:A|B|embedding_A|embedding_B)\b")  # the layer it is beside
# A scale that kohya's and LyCORIS's adapters keep beside each pair of matrices.
_ALPHA = lazy(r"(^|\.)(alpha|dora_scale)$")
_MOST = 0.9  # of a file's tensors that make it an adapter alone
# What each of them has in it: a model's own tensors, of which there may be many, have none.
_MARKS = (
    "lora", "hada_", "lokr_", "ia3_l", "prompt_e", "adapter", "qweight", "qzeros", "g_idx", "SCB",
    "absmax", "quant_", "weight_packed", "weight_shape", "weight_scale", "W_q", "_proj_blocks",
    "_packed_params", "alpha", "dora_scale",
)  # fmt: skip
# First tokens under which trainers keep whole models side by side in one mapping.
_MODELS = lazy(
    r"^(student|teacher|(model_)?ema(_model)?|model|online(_encoder|_model|_net(work)?)?|"
    r"target(_encoder|_model|_net(work)?)?|momentum\w*|base_encoder|(online_)?predictor|"
    r"generator|discriminator|net_?[GD](_[AB])?|[GD](_[AB])?|gen|disc|"
    r"(target_)?(actor|critic|policy(_net(work)?)?|q_net(work)?)(_target)?|"
    r"(encoder|backbone|model)_[qk])$"
)
PLACEHOLDERS = "DeepSpeed ZeRO-3 placeholders"
_FLAT = lazy(r"(^|\.)_?flat_param(_\d+)?$")  # FSDP's weights of a module, end to end
_DEEPEST = 4  # wrappers around several models
_PREDICTOR = lazy(r"predictor$")  # trained with two others, and with one a part of a model
# What stands beside them and is of none: a queue of keys, counts of steps.
_COUNTS = lazy(r"^(\w*queue\w*|n_averaged|num_updates|decay|step|initted)$")


def kind(manifest: Manifest, chosen: StateDict, tensors: Sequence[TensorSpec]) -> str:
    """What a state dict is where it is no plain model; "" where nothing says so."""
    inner = models(chosen)
    if len(inner) > 1:
        return f"several models ({', '.join(m.place for m in inner)})"
    if not tensors:
        return "optimizer state" if _is_optimizer(manifest) else ""
    empty = sum(t.shape == (0,) for t in tensors)
    if empty > _MOST * sum(bool(t.shape) for t in tensors):
        return f"{PLACEHOLDERS} (python zero_to_fp32.py consolidates the weights)"
    names = "\n".join(t.name for t in tensors)
    if "flat_param" in names and any(_FLAT.search(t.name) for t in tensors):
        return "FSDP's flat parameters of one rank (save a full or a sharded state dict)"
    marked = tensors if any(mark in names for mark in _MARKS) else ()
    for name, pattern in _ADAPTERS:
        own = [t.name for t in marked if pattern.search(t.name)]
        weights = len(tensors) - sum(bool(_ALPHA.search(t.name)) for t in marked)
        if own and (len(own) >= _MOST * weights or _without_base(own, tensors)):
            return name + _of_base(manifest.metadata)
    if isinstance(manifest.metadata.get("adapter_config.json"), Mapping):
        return "adapter" + _of_base(manifest.metadata)
    for name, pattern in _QUANTIZED:
        if any(pattern.search(t.name) for t in marked):
            return f"quantized state dict ({name})"
    coded = any(t.quantizer or t.dtype.startswith(("qint", "quint")) for t in tensors)
    if coded and manifest.container != "onnx":
        return "quantized state dict (torch.quantize codes)"
    return ""


def _without_base(adapters: Sequence[str], tensors: Sequence[TensorSpec]) -> bool:
    """Whether no layer that is adapted is in the file: what else is there was saved with them."""
    names = {t.name for t in tensors}
    paths = {m[1] for n in adapters if (m := _LORA_OF.match(n))}
    forms = ("weight", "base_layer.weight", "qweight", "base_layer.qweight")
    return bool(paths) and not any(f"{path}.{form}" in names for path in paths for form in forms)


def _is_optimizer(manifest: Manifest) -> bool:
    places = [p.rpartition(".")[2] for p in manifest.held_aside]
    return bool(places) and any("optim" in p or p in ("opt", "state") for p in places)


def _of_base(metadata: Mapping[str, Json]) -> str:
    config = metadata.get("adapter_config.json")
    base = config.get("base_model_name_or_path") if isinstance(config, Mapping) else None
    return f" for {base}" if isinstance(base, str) and base else ""


def models(state_dict: StateDict) -> tuple[StateDict, ...]:
    """The models that one mapping keeps side by side, each under a first token of its own.

    Only where every tensor lies under such a token and there are two or more; else the mapping
    itself. FILE#PLACE chooses one of them. A wrapper around them all is part of their place.
    """
    if not _begin_with_models([t.name for t in state_dict.tensors]):
        return (state_dict,)
    prefix, tensors = strip_prefix(state_dict.tensors)
    weights = [t for t in tensors if not _COUNTS.match(t.name)]
    counts = Counter(t.name.partition(".")[0] for t in weights if "." in t.name)
    total = sum(counts.values())
    whole = [token for token in counts if not _PREDICTOR.search(token)]
    if len(whole) < 2 or total < len(weights) or not all(map(_MODELS.match, counts)):
        return (state_dict,)
    front = f"{state_dict.place}." if state_dict.place else ""
    return tuple(
        StateDict(
            front + prefix + token,
            tuple(t.named(t.name[len(token) + 1 :]) for t in weights if under(t.name, token)),
            state_dict.ordered,
        )
        for token in counts
    )


def state_dict_at(state_dict: StateDict, place: str) -> StateDict | None:
    """Return what lies under a prefix of a flat state dict; None if nothing does."""
    front = state_dict.place
    if front and not under(place, front):
        return None
    prefix = place[len(front) + 1 :] if front else place
    inside = (t for t in state_dict.tensors if prefix and under(t.name, prefix))
    tensors = tuple(t.named(t.name[len(prefix) + 1 :]) for t in inside if t.name != prefix)
    if not any("." in t.name for t in tensors):
        tensors = _dotted(tensors, state_dict)
    return StateDict(place, tensors, state_dict.ordered) if tensors else None


def _dotted(tensors: tuple[TensorSpec, ...], state_dict: StateDict) -> tuple[TensorSpec, ...]:
    """The tensors of a flat twin under the dotted names of the model that it is the average of.

    Diffusion models keep one as "model_ema.modelconv_inweight".
    """
    flat = {t.name: t for t in tensors}
    for token in dict.fromkeys(t.name.partition(".")[0] for t in state_dict.tensors):
        model = [t.name[len(token) + 1 :] for t in state_dict.tensors if under(t.name, token)]
        if any("." in n for n in model) and all(n.replace(".", "") in flat for n in model):
            return tuple(flat[n.replace(".", "")].named(n) for n in model)
    return tensors


def _begin_with_models(names: Sequence[str]) -> bool:
    """Whether the first tokens in which names differ are those of models: a first look."""
    if not names:
        return False
    # What the first and the last of them share, all share.
    front = commonprefix([min(names), max(names)]).rpartition(".")[0]  # noqa: RUF071 - by letters
    depth, skipped = (front.count(".") + 1, len(front) + 1) if front else (0, 0)
    rest = [name[skipped:] for name in names]
    while depth < _DEEPEST:
        rest = [name for name in rest if "." in name]
        tokens = {name.partition(".")[0] for name in rest}
        if len(tokens) != 1:
            return sum(bool(_MODELS.match(token)) for token in tokens) > 1
        skipped = len(tokens.pop()) + 1
        rest = [name[skipped:] for name in rest]
        depth += 1
    return False
