"""transformers' families and the config each is built with, so that a dimension tells its field.

A tiny config's sizes are all different, in small multiples and a few more too: a dimension of 80 is
the feed-forward width and nothing else. Families whose widths follow no single number (ResNet,
Swin) stand with the sizes that are published instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from interop.facts import Json

Config = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Family:
    """Classes whose names start with `prefix`, and the configs to build each with.

    `tiny` is the config of distinct sizes; empty where there is none. `sizes` names what shapes can
    tell of it: config fields, and products of them that a shape has as one number, each with its
    value. `variants` are further fields that change which tensors there are. `published` are
    configs of a fixed size, as fields that depart from the class's default config. `classes` are
    endings of class names, where a family is not to have all that there are.
    """

    prefix: str
    tiny: Config = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    variants: tuple[Config, ...] = ({},)
    published: tuple[Config, ...] = ()
    classes: tuple[str, ...] = ()


# What the classes of a family are called after its prefix.
ENDINGS = (
    "Model", "EncoderModel", "VisionModel", "VisionModelWithProjection", "TextModel",
    "TextModelWithProjection", "ForPreTraining", "ForSequenceClassification",
    "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice", "ForMaskedLM",
    "ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "MTModel", "ForImageClassification",
    "ForImageClassificationWithTeacher", "ForSemanticSegmentation", "ForObjectDetection",
    "ForDepthEstimation", "ForCTC", "ForAudioClassification",
)  # fmt: skip

LABELS = 5

_ENCODER = {
    "vocab_size": 131, "hidden_size": 48, "num_hidden_layers": 3, "intermediate_size": 80,
    "max_position_embeddings": 67, "type_vocab_size": 7,
}  # fmt: skip
_HEADS = {"num_attention_heads": 4}
_DECODER = {
    "vocab_size": 131, "hidden_size": 48, "num_hidden_layers": 3, "intermediate_size": 80,
}  # fmt: skip
_PATCHES = {"image_size": 20, "patch_size": 4}
_PATCH_SIZES = {"patch_size": 4, "(image_size / patch_size) ** 2": 25}
_WINDOWS = {"(2 * image_size / patch_size - 1) ** 2": 81}
_VISION = {"hidden_size": 48, "num_hidden_layers": 3, "intermediate_size": 80}
_SEQ2SEQ = {
    "vocab_size": 131, "d_model": 48, "max_position_embeddings": 67, "encoder_layers": 3,
    "decoder_layers": 2, "encoder_ffn_dim": 80, "decoder_ffn_dim": 88,
}  # fmt: skip
_SEQ2SEQ_HEADS = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
_LONG = {"vocab_size": 131, "d_model": 56, "d_ff": 80, "num_layers": 5, "num_decoder_layers": 6}
_LONG_ALL = {**_LONG, "d_kv": 10, "num_heads": 4}
_LONG_SIZES = {**_LONG, "num_heads * d_kv": 40, "num_heads": 4}
_GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
_WAVE = {
    "vocab_size": 131, "hidden_size": 96, "num_hidden_layers": 3, "intermediate_size": 160,
    "classifier_proj_size": 37,
}  # fmt: skip
_WAVE_ALL = {**_WAVE, **_HEADS, "conv_dim": [41] * 7, "mask_time_prob": 0.0}
_WAVE_SIZES = {**_WAVE, "conv_dim": 41}
# Published by normalising groups after the first convolution, and by normalising every layer.
_WAVES: tuple[Config, ...] = (
    {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False},
    {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
    {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": False},
)
_FOUR = [64, 128, 320, 512]
_DEEPER = ([3, 4, 6, 3], [3, 4, 18, 3], [3, 8, 27, 3], [3, 6, 40, 3])


def _grouped(*variants: Config) -> dict[str, Json]:
    """A decoder with fewer keys than queries, and one with as many."""
    both = ({"num_key_value_heads": 2}, {"num_key_value_heads": 4})
    return {
        "tiny": {**_DECODER, **_HEADS},
        "sizes": {**_DECODER, "num_key_value_heads * head_dim": 24},
        "variants": tuple({**v, **b} for v in (variants or ({},)) for b in both),
    }


def _wide(*variants: Config) -> dict[str, Json]:
    """A decoder whose heads have a width of their own."""
    return {
        "tiny": {**_DECODER, **_HEADS, "num_key_value_heads": 2, "head_dim": 14},
        "sizes": {
            **_DECODER,
            "head_dim": 14,
            "num_attention_heads * head_dim": 56,
            "num_key_value_heads * head_dim": 28,
        },
        "variants": variants or ({},),
    }


def _encoder(more: Config | None = None, *variants: Config) -> dict[str, Json]:
    more = dict(more or {})
    return {
        "tiny": {**_ENCODER, **_HEADS, **more},
        "sizes": {**_ENCODER, **_widths(more)},
        "variants": variants or ({},),
    }


def _vision(*variants: Config, **more: Json) -> dict[str, Json]:
    return {
        "tiny": {**_VISION, **_HEADS, **_PATCHES, **more},
        "sizes": {**_VISION, **_PATCH_SIZES, **_WINDOWS, **_widths(more)},
        "variants": variants or ({},),
    }


def _widths(fields: Config) -> dict[str, int]:
    """Those of some fields that are sizes of tensors, or counts of layers."""
    return {
        key: value
        for key, value in fields.items()
        if type(value) is int and not key.endswith("heads") and "token_id" not in key
    }


_ROBERTA = _encoder()
_DEBERTA_V3 = {
    "relative_attention": True, "norm_rel_ebd": "layer_norm",
    "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
    "type_vocab_size": 0,
}  # fmt: skip
_TEXT_TOWER = {
    "vocab_size": 131, "hidden_size": 48, "num_hidden_layers": 3, "intermediate_size": 80,
    "max_position_embeddings": 67,
}  # fmt: skip
_EYE_TOWER = {"hidden_size": 56, "num_hidden_layers": 2, "intermediate_size": 88}


def _two_towers(prefix: str, text: Config, eye: Config, joint: Config) -> tuple[Family, ...]:
    """CLIP's kind: the two together, and each alone under its own config.

    `text` and `eye` are what each config has beside its plain sizes, `joint` what all three share.
    """
    texts = {**_TEXT_TOWER, **_HEADS, **text, **joint}
    eyes = {**_EYE_TOWER, **_HEADS, **_PATCHES, **eye, **joint}
    text_sizes, eye_sizes = {**_TEXT_TOWER}, {**_EYE_TOWER, **_PATCH_SIZES}
    shared = {key: value for key, value in joint.items() if isinstance(value, int)}
    both = {f"text_config.{key}": value for key, value in text_sizes.items()}
    both |= {f"vision_config.{key}": value for key, value in eye_sizes.items()}
    return (
        Family(
            prefix,
            {"text_config": texts, "vision_config": eyes, **joint},
            {**both, **shared},
            classes=("Model", "ForImageClassification"),
        ),
        Family(
            prefix,
            texts,
            {**text_sizes, **shared},
            classes=("TextModel", "TextModelWithProjection"),
        ),
        Family(
            prefix,
            eyes,
            {**eye_sizes, **shared},
            classes=("VisionModel", "VisionModelWithProjection"),
        ),
    )


def _scaled(field_name: str, *values: float) -> tuple[Config, ...]:
    return tuple({field_name: value} for value in values)


def _stages(widths: list[int], *depths: list[int], **more: Json) -> tuple[Config, ...]:
    return tuple({"hidden_sizes": widths, "depths": depth, **more} for depth in depths)


def _regnets() -> tuple[Config, ...]:
    """Depths, widths and group width of the published RegNets, 400 MF to 32 GF."""
    y = (
        ([1, 3, 6, 6], [48, 104, 208, 440], 8), ([1, 3, 8, 2], [64, 144, 320, 784], 16),
        ([2, 6, 17, 2], [48, 120, 336, 888], 24), ([2, 5, 13, 1], [72, 216, 576, 1512], 24),
        ([2, 6, 12, 2], [128, 192, 512, 1088], 64), ([2, 4, 10, 1], [224, 448, 896, 2016], 56),
        ([2, 4, 11, 1], [224, 448, 1232, 3024], 112), ([2, 5, 12, 1], [232, 696, 1392, 3712], 232),
    )  # fmt: skip
    x = (
        ([1, 2, 7, 12], [32, 64, 160, 400], 16), ([1, 3, 7, 5], [64, 128, 288, 672], 16),
        ([2, 4, 10, 2], [72, 168, 408, 912], 24), ([2, 6, 15, 2], [96, 192, 432, 1008], 48),
        ([2, 5, 14, 2], [80, 240, 560, 1360], 40), ([2, 5, 15, 1], [80, 240, 720, 1920], 120),
        ([2, 6, 13, 1], [256, 512, 896, 2048], 128), ([2, 7, 13, 1], [336, 672, 1344, 2520], 168),
    )  # fmt: skip
    return tuple(
        {"depths": depths, "hidden_sizes": widths, "groups_width": group, "layer_type": kind}
        for kind, rows in (("y", y), ("x", x))
        for depths, widths, group in rows
    )


_PARSER = {"image_size": 640, "use_relative_position_bias": True}
_BASIC = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512]}
_CONVNEXTS = (
    *_stages([96, 192, 384, 768], [3, 3, 9, 3], [3, 3, 27, 3]),
    *_stages([128, 256, 512, 1024], [3, 3, 27, 3]),
    *_stages([192, 384, 768, 1536], [3, 3, 27, 3]),
)
_SWINS: tuple[Config, ...] = (
    {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]},
    {"embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24]},
    {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]},
    {"embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48]},
)

FAMILIES: tuple[Family, ...] = (
    Family("Bert", **_ROBERTA),
    Family("Roberta", **_ROBERTA),
    Family("XLMRoberta", **_ROBERTA),
    Family("Camembert", **_ROBERTA),
    Family(
        "DistilBert",
        {"vocab_size": 131, "dim": 48, "hidden_dim": 80, "n_layers": 3, "n_heads": 4,
         "max_position_embeddings": 67},
        {"vocab_size": 131, "dim": 48, "hidden_dim": 80, "n_layers": 3,
         "max_position_embeddings": 67},
    ),
    Family("Albert", **_encoder({"embedding_size": 36})),
    Family("Electra", **_encoder({"embedding_size": 36}, {}, {"embedding_size": 48})),
    Family(
        "DebertaV2",
        **_encoder(
            {"position_buckets": 32}, {}, _DEBERTA_V3, {**_DEBERTA_V3, "conv_kernel_size": 3}
        ),
    ),
    Family(
        "Deberta",
        **_encoder({}, {"relative_attention": True, "max_relative_positions": 67,
                        "pos_att_type": ["c2p", "p2c"], "position_biased_input": False,
                        "type_vocab_size": 0}),
    ),
    Family("MPNet", **_encoder()),
    Family("ModernBert", {**_DECODER, **_HEADS, "pad_token_id": 0}, _DECODER),
    Family(
        "GPT2",
        {"vocab_size": 131, "n_positions": 67, "n_embd": 48, "n_layer": 3, "n_head": 4,
         "n_inner": 80},
        {"vocab_size": 131, "n_positions": 67, "n_embd": 48, "n_layer": 3, "n_inner": 80},
    ),
    Family(
        "GPTNeo",
        {"vocab_size": 131, "max_position_embeddings": 67, "hidden_size": 48, "num_layers": 3,
         "num_heads": 4, "intermediate_size": 80, "attention_types": [[["global"], 3]]},
        {"vocab_size": 131, "max_position_embeddings": 67, "hidden_size": 48, "num_layers": 3,
         "intermediate_size": 80},
    ),
    Family(
        "GPTNeoX",
        {**_DECODER, **_HEADS},
        _DECODER,
        variants=({"tie_word_embeddings": False}, {"attention_bias": False}),
    ),
    Family(
        "GPTJ",
        {"vocab_size": 131, "n_positions": 67, "n_embd": 48, "n_layer": 3, "n_head": 4,
         "rotary_dim": 8, "n_inner": 80},
        {"vocab_size": 131, "n_embd": 48, "n_layer": 3, "n_inner": 80},
    ),
    Family(
        "OPT",
        {"vocab_size": 131, "hidden_size": 48, "num_hidden_layers": 3, "ffn_dim": 80,
         "max_position_embeddings": 67, "word_embed_proj_dim": 48, **_HEADS},
        {"vocab_size": 131, "hidden_size": 48, "num_hidden_layers": 3, "ffn_dim": 80,
         "max_position_embeddings": 67, "word_embed_proj_dim": 36},
        variants=({}, {"word_embed_proj_dim": 36, "do_layer_norm_before": False}),
    ),
    Family(
        "Bloom",
        {"vocab_size": 131, "hidden_size": 48, "n_layer": 3, "n_head": 4},
        {"vocab_size": 131, "hidden_size": 48, "n_layer": 3},
    ),
    Family("Llama", **_grouped({}, {"attention_bias": True}, {"attention_bias": True,
                                                             "mlp_bias": True})),
    Family("Mistral", **_wide()),
    Family("Qwen2", **_grouped()),
    Family("Qwen3", **_wide()),
    Family("Gemma", **_wide()),
    Family("Gemma2", **_wide()),
    Family("Phi", **_grouped({}, {"qk_layernorm": True})),
    Family(
        "Phi3",
        {**_DECODER, **_HEADS, "pad_token_id": 0},
        {**_DECODER, "(num_attention_heads + 2 * num_key_value_heads) * head_dim": 72},
        variants=({"num_key_value_heads": 1}, {"num_key_value_heads": 4}),
    ),
    Family(
        "Falcon",
        {"vocab_size": 131, "hidden_size": 48, "num_hidden_layers": 3, "ffn_hidden_size": 84,
         "num_attention_heads": 6},
        {"vocab_size": 131, "hidden_size": 48, "num_hidden_layers": 3, "ffn_hidden_size": 84,
         "(num_attention_heads + 2) * head_dim": 64,
         "(num_attention_heads + 2 * num_kv_heads) * head_dim": 80},
        variants=({}, {"new_decoder_architecture": True, "num_kv_heads": 2}, {"bias": True}),
    ),
    Family(
        "Mixtral",
        {**_DECODER, **_HEADS, "num_key_value_heads": 2, "num_local_experts": 6},
        {**_DECODER, "num_key_value_heads * head_dim": 24, "num_local_experts": 6},
    ),
    Family("T5", _LONG_ALL, _LONG_SIZES, variants=({}, _GATED)),
    Family("MT5", _LONG_ALL, _LONG_SIZES, variants=(_GATED,)),
    Family("Bart", {**_SEQ2SEQ, **_SEQ2SEQ_HEADS}, _SEQ2SEQ),
    Family("MBart", {**_SEQ2SEQ, **_SEQ2SEQ_HEADS}, _SEQ2SEQ),
    Family(
        "Marian",
        {**_SEQ2SEQ, **_SEQ2SEQ_HEADS, "decoder_vocab_size": 131, "pad_token_id": 130,
         "decoder_start_token_id": 130},
        _SEQ2SEQ,
    ),
    Family("Pegasus", {**_SEQ2SEQ, **_SEQ2SEQ_HEADS}, _SEQ2SEQ),
    Family("M2M100", {**_SEQ2SEQ, **_SEQ2SEQ_HEADS}, _SEQ2SEQ),
    Family("ViT", **_vision({}, {"qkv_bias": False})),
    Family("DeiT", **_vision()),
    Family(
        "Beit",
        **_vision(
            {"use_relative_position_bias": True},
            {"use_absolute_position_embeddings": True, "use_mask_token": True},
            {"use_shared_relative_position_bias": True},
            vocab_size=131,
        ),
        classes=("Model", "ForImageClassification"),
    ),
    Family(
        "Beit",
        published=(
            {**_PARSER, "out_indices": [3, 5, 7, 11]},
            {**_PARSER, "out_indices": [7, 11, 15, 23], "hidden_size": 1024,
             "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
        ),
        classes=("ForSemanticSegmentation",),
    ),
    Family("ViTMAE", **_vision(decoder_hidden_size=36, decoder_num_hidden_layers=2,
                               decoder_intermediate_size=52, decoder_num_attention_heads=4)),
    Family(
        "Dinov2",
        {"hidden_size": 48, "num_hidden_layers": 3, **_HEADS, **_PATCHES},
        {"hidden_size": 48, "num_hidden_layers": 3, **_PATCH_SIZES, "swiglu width": 128},
        variants=({}, {"use_swiglu_ffn": True}),
    ),
    Family(
        "Dinov2WithRegisters",
        {"hidden_size": 48, "num_hidden_layers": 3, **_HEADS, **_PATCHES},
        {"hidden_size": 48, "num_hidden_layers": 3, **_PATCH_SIZES},
    ),
    Family(
        "DINOv3ViT",
        {**_VISION, **_HEADS, **_PATCHES, "num_register_tokens": 11},
        {**_VISION, "patch_size": 4, "num_register_tokens": 11},
        variants=({}, {"use_gated_mlp": True}),
    ),
    Family(
        "Yolos",
        {**_VISION, **_HEADS, "patch_size": 4, "image_size": [20, 20],
         "num_detection_tokens": 11, "use_mid_position_embeddings": False},
        {**_VISION, "patch_size": 4, "num_detection_tokens": 11,
         "(image_size / patch_size) ** 2 + num_detection_tokens": 36},
        variants=({}, {"use_mid_position_embeddings": True}),
    ),
    Family("DPT", published=({},)),
    Family("Swin", published=(*_SWINS, *({**s, "window_size": 12, "image_size": 384}
                                         for s in _SWINS[2:]))),
    Family("Swinv2", published=(
        *({**s, "window_size": 8, "image_size": 256} for s in _SWINS[:3]),
        *({**s, "window_size": 16, "image_size": 256} for s in _SWINS[:3]),
    )),
    Family("ConvNext", published=_CONVNEXTS),
    Family("ConvNextV2", published=(
        *_stages([40, 80, 160, 320], [2, 2, 6, 2]), *_stages([48, 96, 192, 384], [2, 2, 6, 2]),
        *_stages([64, 128, 256, 512], [2, 2, 6, 2]), *_stages([80, 160, 320, 640], [2, 2, 8, 2]),
        _CONVNEXTS[0], *_CONVNEXTS[2:],
    )),
    Family("ResNet", published=(
        {**_BASIC, "depths": [2, 2, 2, 2]}, {**_BASIC, "depths": [3, 4, 6, 3]},
        {"depths": [3, 4, 6, 3]}, {"depths": [3, 4, 23, 3]}, {"depths": [3, 8, 36, 3]},
    )),
    Family("RegNet", published=_regnets()),
    Family("EfficientNet", published=tuple(
        {"width_coefficient": width, "depth_coefficient": depth, "hidden_dim": out}
        for width, depth, out in (
            (1.0, 1.0, 1280), (1.0, 1.1, 1280), (1.1, 1.2, 1408), (1.2, 1.4, 1536),
            (1.4, 1.8, 1792), (1.6, 2.2, 2048), (1.8, 2.6, 2304), (2.0, 3.1, 2560),
        )
    )),
    Family("MobileNetV1", published=_scaled("depth_multiplier", 1.0, 0.75, 0.5, 0.25)),
    Family("MobileNetV2", published=_scaled("depth_multiplier", 1.0, 1.4, 0.75, 0.35)),
    Family("MobileViT", published=(
        {},
        {"hidden_sizes": [96, 120, 144], "neck_hidden_sizes": [16, 32, 48, 64, 80, 96, 384]},
        {"hidden_sizes": [64, 80, 96], "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 320],
         "expand_ratio": 2.0},
    )),
    Family("MobileViTV2", published=_scaled("width_multiplier", 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)),
    Family("Pvt", published=({}, *({"depths": depths} for depths in _DEEPER[:3]))),
    Family("PvtV2", published=({}, *_stages(_FOUR, [2, 2, 2, 2], *_DEEPER[:3]),
                               *_stages(_FOUR, _DEEPER[3], mlp_ratios=[4, 4, 4, 4]))),
    Family("Segformer", published=(
        {}, *_stages(_FOUR, [2, 2, 2, 2]), *_stages(_FOUR, *_DEEPER, decoder_hidden_size=768),
    )),
    Family("PoolFormer", published=(
        *_stages(_FOUR, [2, 2, 6, 2], [4, 4, 12, 4], [6, 6, 18, 6]),
        *_stages([96, 192, 384, 768], [6, 6, 18, 6], [8, 8, 24, 8]),
    )),
    Family("Detr", published=({"use_pretrained_backbone": False},)),
    *_two_towers("CLIP", {}, {}, {"projection_dim": 36}),
    *_two_towers("Siglip", {"projection_size": 48}, {}, {}),
    Family(
        "Whisper",
        {"vocab_size": 131, "d_model": 48, "num_mel_bins": 21, "encoder_layers": 3,
         "decoder_layers": 2, "encoder_ffn_dim": 80, "decoder_ffn_dim": 88, **_SEQ2SEQ_HEADS,
         "max_source_positions": 61, "max_target_positions": 67, "classifier_proj_size": 37,
         "pad_token_id": 130, "bos_token_id": 129, "eos_token_id": 129,
         "decoder_start_token_id": 128},
        {"vocab_size": 131, "d_model": 48, "num_mel_bins": 21, "encoder_layers": 3,
         "decoder_layers": 2, "encoder_ffn_dim": 80, "decoder_ffn_dim": 88,
         "max_source_positions": 61, "max_target_positions": 67, "classifier_proj_size": 37},
    ),
    Family("Wav2Vec2", _WAVE_ALL, _WAVE_SIZES, variants=_WAVES),
    Family("Hubert", _WAVE_ALL, _WAVE_SIZES, variants=_WAVES),
    Family("WavLM", _WAVE_ALL, _WAVE_SIZES, variants=_WAVES),
    Family(
        "AST",
        {**_VISION, **_HEADS, "patch_size": 4, "frequency_stride": 4, "time_stride": 4,
         "max_length": 20, "num_mel_bins": 20},
        {**_VISION, "patch_size": 4, "patches": 25},
    ),
)  # fmt: skip
