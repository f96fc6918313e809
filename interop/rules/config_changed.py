"""A field of the model's config that changes what it computes is another one.

What
    The weights of A and B have the same names and shapes, and a config beside them (config.json,
    adapter_config.json) states something else of the layers: heads, activation, epsilon, window.
    A field that is not known to matter or not to matter is reported as unknown.

Why
    The number of attention heads is in no tensor. Weights that were trained with 12 and run with 6
    load without a word and answer nonsense. `problem_type` decides whether a caller takes a softmax
    or a sigmoid of the same outputs.

Example
    config.json: num_attention_heads 4 -> 2

Fix
    Restore A's value, or train B with its own and waive this finding. For a field reported as
    unknown: check in the library's documentation whether it changes the forward, then waive it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from interop.facts import (
    Answer,
    Case,
    Finding,
    Identity,
    Intent,
    Json,
    Level,
    PartChange,
    PartKind,
    Rule,
    Side,
)
from interop.patterns import lazy
from interop.records import replace
from interop.rules import finding
from interop.rules._shared import changed_to

RULE = Rule(
    "config-changed", Level.ERROR, (Intent.TRANSFER, Intent.REPLACE), needs=("pair", "parts")
)

# Fields that do not change the answer of the loaded model.
_HARMLESS = frozenset({
    "_name_or_path", "name_or_path", "transformers_version", "_commit_hash",
    "use_cache", "gradient_checkpointing", "initializer_range", "initializer_factor", "init_std",
    "initializer_cutoff_factor", "layer_scale_init_value", "layerscale_value", "layerdrop",
    "encoder_layerdrop", "decoder_layerdrop", "task_specific_params", "finetuning_task",
    "_attn_implementation", "_attn_implementation_autoset", "attn_implementation",
    "tokenizer_class", "pretraining_tp",
    "apply_spec_augment", "ctc_loss_reduction", "ctc_zero_infinity", "diversity_loss_weight",
    "contrastive_logits_temperature", "num_negatives", "router_aux_loss_coef", "router_z_loss_coef",
    "output_router_logits", "loss_type", "label_smoothing", "use_mean_pooling_loss",
    "inference_mode", "init_lora_weights", "chunk_size_feed_forward", "peft_version",
    "tag", "url", "hf_hub_id", "hf_hub_filename", "source", "license", "origin_url", "paper_name",
    "paper_ids", "notes", "description",
})  # fmt: skip
_HARMLESS_PATTERN = lazy(
    r"(.*_)?(dropout|dropout_prob|dropout_rate|pdrop|drop_rate|drop_path_rate|drop_prob)"
    r"|(.*_)?drop_path|mask_(time|feature)_\w+|summary_first_dropout|lora_dropout"
)
# Facts that other rules compare: labels, preprocessing, what heads and tensors show.
_ELSEWHERE = frozenset({
    "id2label", "labels", "label_names", "label_descriptions", "class_names", "classes",
    "preprocess", "preprocessing", "input_size", "interpolation", "crop_pct", "crop_mode", "mean",
    "std", "first_conv", "classifier",
})  # fmt: skip
# Sizes that the tensors show, where theirs differ.
_SIZES = lazy(
    r"vocab_size|(.*_)?hidden_(size|dim|sizes|dims)|intermediate_size|num_(hidden_)?layers|n_layers?"
    r"|n_embd|n_inner|d_model|d_ff|ffn_dim|(.*_)?layers|depths?|embed_dims?|dim|num_features"
    r"|max_position_embeddings|n_positions|type_vocab_size|conv_dim|conv_kernel|patch_size"
    r"|num_channels|embedding_size|projection_dim|num_codevectors\w*|.*codevector\w*|r|tdnn_\w+"
)
# Fields that change what every layer, or the whole forward, computes.
_FORWARD = lazy(
    r"(.*_)?(num_)?(attention_|key_value_|kv_|q_|query_)?heads?|n_heads?|num_head\w*|n_kv_heads"
    r"|.*(_act|act_fn|activation|activation_function|activation_fn|hidden_act|act_layer|act)"
    r"|.*(eps|epsilon)|(.*_)?(rope|rotary|alibi)\w*|partial_rotary_factor|.*window\w*"
    r"|.*(position_embedding_type|relative_attention|max_distance|bucket)\w*|.*stride\w*"
    r"|.*dilation\w*|.*padding_idx|.*norm_(type|first|before)|.*_layer_norm|feat_extract_norm"
    r"|.*(norm_layer|pre_norm|post_norm|prenorm|qk_norm)|.*(pool|pooling|pool_type|pooling_type)"
    r"|global_pool|summary_(type|use_proj|activation)|.*_scal(e|ing|er|ar)\w*|scal(e|ing)_\w+|scale"
    r"|.*(multiplier|softcap|softcapping|temperature)|logit_\w+|lora_alpha|use_rslora|use_dora"
    r"|.*(num_experts_per_tok|top_k|topk)\w*|norm_topk_prob|.*(group|groups)"
    r"|layer_types|attention_type\w*|is_decoder|is_causal|causal|bidirectional|tie_word_embeddings"
    r"|tie_encoder_decoder|add_cross_attention|image_size|img_size|chunk_\w+|num_buckets|block_size"
    r"|.*interpolat\w*|quantization_config\w*|reorder_and_upcast_attn|target_modules|fan_in_fan_out"
    r"|mlp_ratio|qkv_bias|model_args\w*|use_weighted_layer_sum|out_(features|indices)|classifier_\w+"
)
# Fields that change what a caller gets, or must send, and leave the layers as they are.
_OF_CALLERS = lazy(
    r"problem_type|return_dict|use_return_dict|torchscript|architectures|inputs|outputs|output_(hidden_states|attentions|scores)"
    r"|(bos|eos|sep|cls|mask|unk|decoder_start|forced_bos|forced_eos|image|audio|video)_token_(id|index)"
    r"|(begin_)?suppress_tokens|forced_decoder_ids|prefix|max_length|min_length|num_beams"
    r"|temperature|top_k|top_p|typical_p|num_return_sequences|num_beam_groups|diversity_penalty"
    r"|return_dict_in_generate|bad_words_ids|remove_invalid_values|encoder_no_repeat_ngram_size"
    r"|do_sample|length_penalty|no_repeat_ngram_size|early_stopping|repetition_penalty"
)
_FORWARD_IDS = lazy(r"pad_token_id|pad_index|padding_idx")
# What the library takes for an absent field, whatever the class.
_ABSENT: dict[str, Json] = {
    "problem_type": None, "output_hidden_states": False, "output_attentions": False,
    "torchscript": False, "return_dict": True, "use_return_dict": True, "pruned_heads": {},
    "add_cross_attention": False, "cross_attention_hidden_size": None,
    "tie_encoder_decoder": False, "finetuning_task": None, "prefix": None, "sep_token_id": None,
    "bos_token_id": None, "eos_token_id": None, "decoder_start_token_id": None,
    "quantization_config": None,
}  # fmt: skip
# Fields of one part, by their beginning, and what the names of its tensors hold.
_OF_A_PART = {"summary_": "summary", "pooler_": "pooler", "encoder_stride": "decoder"}
# Tasks whose classes give no scores of words.
_UNTIED = lazy(r"Classification|QuestionAnswering|MultipleChoice|NextSentencePrediction")
# Classes of one task whose names end in another word.
_TASKS = {"LMHeadModel": "CausalLM", "ForCausalLM": "CausalLM"}


def check(case: Case) -> Iterator[Finding]:
    if case.parts is None:
        return
    kinds = (PartKind.CONFIG, PartKind.ADAPTER)
    compared = [
        c for c in case.parts.changes
        if c.kind in kinds and c.path.endswith(".json") and (c.field or c.side is Side.BOTH)
    ]  # fmt: skip
    other = _other_backbone(case)
    # Two libraries' configs have other fields; what they have in common is compared.
    foreign = other or _library(case.a) != _library(case.b)
    if foreign:
        compared = [c for c in compared if c.side is Side.BOTH or _defaults(c)]
    judged: dict[tuple[str, Answer, tuple[Intent, ...]], list[PartChange]] = {}
    for change in compared:
        answer, breaks = _told(change, case) or _judged(change, other)
        if breaks:
            judged.setdefault((change.path, answer, breaks), []).append(change)
    for (path, answer, breaks), changes in judged.items():
        yield _said(path, changes, answer, breaks)


def _library(identity: Identity | None) -> str:
    """Whose config.json it is, by the field that each library writes into its own."""
    config = identity.manifest.metadata.get("config.json") if identity is not None else None
    marks = ("model_type", "pretrained_cfg", "inputs")
    settings = config if isinstance(config, Mapping) else {}
    return next((mark for mark in marks if mark in settings), "")


def _defaults(change: PartChange) -> bool:
    return change.field.rpartition(".")[2] in _ABSENT


def _said(
    path: str, changes: Sequence[PartChange], answer: Answer, breaks: tuple[Intent, ...]
) -> Finding:
    open_ = "" if answer is Answer.NO else "; not known to leave the outputs alone"
    return finding(
        RULE,
        f"{path}: {changed_to(changes)}{open_}",
        place=path,
        facts={"fields": {c.field: [c.a, c.b] for c in changes}},
        breaks=breaks,
        answer=answer,
    )


def _told(change: PartChange, case: Case) -> tuple[Answer, tuple[Intent, ...]] | None:
    """What the weights or the labels make of a field; None where they say nothing of it."""
    assert case.a is not None and case.b is not None
    if (name := change.field.rpartition(".")[2]) in ("dtype", "torch_dtype"):
        # A library loads in the type that is stated: it matters where the weights are of another.
        sides = ((case.a, change.a), (case.b, change.b))
        own = all(v is None or _has_dtype(i, v) for i, v in sides)
        return (Answer.YES, ()) if own else (Answer.UNKNOWN, (Intent.REPLACE,))
    if name in ("target_modules", "modules_to_save") and _as_set(change.a) == _as_set(change.b):
        return Answer.YES, ()  # written from a set, in any order
    if change.field.startswith("label2id"):
        # Where both name the same labels, one of the two tables was not changed with the other.
        same = case.a.labels.names == case.b.labels.names
        return (Answer.UNKNOWN, (Intent.REPLACE,)) if same else (Answer.YES, ())
    if name == "tie_word_embeddings" and all(map(_has_no_vocabulary_head, (case.a, case.b))):
        return Answer.YES, ()
    part = next((part for front, part in _OF_A_PART.items() if name.startswith(front)), None)
    if part and not any(part in t.name for i in (case.a, case.b) for t in i.tensors):
        return Answer.YES, ()  # of a part that neither has
    if name in ("num_labels", "num_classes"):
        rows = [i.head.outputs if i.head is not None else 0 for i in (case.a, case.b)]
        return (Answer.UNKNOWN, (Intent.REPLACE,)) if rows[0] == rows[1] else (Answer.YES, ())
    return None


def _has_no_vocabulary_head(identity: Identity) -> bool:
    """Whether a class has no output embedding that could be tied, and no second table of words."""
    config = identity.manifest.metadata.get("config.json")
    settings = config if isinstance(config, Mapping) else {}
    return _UNTIED.search(_task(settings.get("architectures"))) is not None and not settings.get(
        "is_encoder_decoder"
    )


def _as_set(value: Json) -> Json:
    return sorted(map(str, value)) if isinstance(value, list) else value


def _has_dtype(identity: Identity, stated: Json) -> bool:
    return str(stated).removeprefix("torch.") in {t.dtype for t in identity.tensors}


def _judged(change: PartChange, other: bool) -> tuple[Answer, tuple[Intent, ...]]:
    """What a field's change makes of the intents; none where it is no matter."""
    names = [n for n in change.field.split(".") if not n.isdigit()] or [""]
    if any(n in _HARMLESS or _HARMLESS_PATTERN.fullmatch(n) for n in names):
        return Answer.YES, ()
    if any(n in _ELSEWHERE for n in names):
        return Answer.YES, ()
    if change.side is not Side.BOTH and names[-1] in _ABSENT:
        value = change.a if change.side is Side.A else change.b
        if value == _ABSENT[names[-1]]:
            return Answer.YES, ()
        change = replace(change, side=Side.BOTH)  # the absent one has a value all the same
    if names[-1] == "architectures":
        same = _task(change.a) == _task(change.b) and change.side is Side.BOTH
        return (Answer.YES, ()) if same else (_sure(change), (Intent.REPLACE,))
    if any(_OF_CALLERS.fullmatch(n) for n in names):
        return _sure(change), (Intent.REPLACE,)
    if other:  # its tensors are others too: how they are computed is its own affair
        return Answer.YES, ()
    if any(_FORWARD_IDS.fullmatch(n) or _forward(n) for n in names):
        return _sure(change), RULE.breaks
    return Answer.UNKNOWN, RULE.breaks


def _forward(name: str) -> bool:
    return _FORWARD.fullmatch(name) is not None and not _SIZES.fullmatch(name)


def _sure(change: PartChange) -> Answer:
    """An absent field has a default that no file states: it may be the other side's value."""
    return Answer.NO if change.side is Side.BOTH else Answer.UNKNOWN


def _task(names: Json) -> str:
    """The task in a class's name: "ForImageClassification", "Model"."""
    name = str(names[0]) if isinstance(names, list) and names else ""
    for end, task in _TASKS.items():
        if name.endswith(end):
            return task
    match = re.search(r"(For[A-Z]\w*|Model)$", name)
    return match[1] if match else name


def _other_backbone(case: Case) -> bool:
    """Whether B's tensors are not A's by name and shape, apart from the heads."""
    assert case.a is not None and case.b is not None and case.pairing is not None
    found = [h for i in (case.a, case.b) for h in (i.head, *i.side_heads) if h is not None]
    heads = {n for h in found for n in h.tensors}
    p = case.pairing
    rest = [*p.missing, *p.extra, *(pair.a for pair in p.reshaped)]
    mapped = {m.a.name for m in p.mapped} | {t.name for m in p.mapped for t in m.b}
    known = heads | mapped
    return any(t.name not in known and not t.is_counter for t in rest)
