"""The unit is what is deployed: one byte that matters, in any file of a folder, is noticed."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
)

from interop.check import check, parts
from interop.check.options import CheckOptions
from interop.check.tokenizers import changes
from interop.export import export
from interop.facts import Answer, Intent, Report
from interop.gate.candidate import ModelPath, judge
from interop.identity import identify_file
from interop.policy.policy import Policy
from interop.reading import read
from interop.rules.config_changed import _HARMLESS, _HARMLESS_PATTERN

NAMES = {"id2label": {0: "neg", 1: "pos"}, "label2id": {"neg": 0, "pos": 1}}
WORDS = [f"w{n}" for n in range(20)]
# What is in a file and changes nothing of what is deployed, besides the fields that the rules list.
_NOTHING = {"version", "backend", "transformers_version", "_from_model_config", "use_cache",
            "sentence_transformers", "dtype", "initializer_range"}  # fmt: skip


def tokenizer(folder: Path, words: list[str]) -> None:
    vocabulary = {w: n for n, w in enumerate(["[PAD]", "[UNK]", *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]")
    fast.save_pretrained(folder)


def text(folder: Path) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 22, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=8, max_position_embeddings=16, **NAMES)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer(folder, WORDS)
    # As older releases of the library leave it.
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", *WORDS]) + "\n")
    tokens = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens))


def image(folder: Path) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = ViTConfig(**sizes, intermediate_size=8, image_size=16, patch_size=8, **NAMES)
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)


def speech(folder: Path) -> None:
    sizes = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "conv_dim": [4] * 7,
    }
    config = Wav2Vec2Config(
        **sizes, intermediate_size=8, num_conv_pos_embeddings=4, classifier_proj_size=4,
        num_conv_pos_embedding_groups=2, **NAMES,
    )  # fmt: skip
    Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)


def language(folder: Path) -> None:
    config = GPT2Config(vocab_size=22, n_embd=8, n_layer=1, n_head=2, n_positions=16)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer(folder, WORDS)
    (folder / "chat_template.jinja").write_text("{{ messages }}!")


def sentence(folder: Path) -> None:
    sizes = {"vocab_size": 22, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(**sizes, intermediate_size=8)).save_pretrained(folder)
    tokenizer(folder, WORDS)
    kinds = ("Transformer", "Pooling", "Dense", "Normalize")
    front = "sentence_transformers.models."
    chain = [
        {"idx": n, "name": str(n), "path": f"{n}_{k}" if n else "", "type": front + k}
        for n, k in enumerate(kinds)
    ]
    tanh = "torch.nn.modules.activation.Tanh"
    files = {
        "modules.json": chain,
        "sentence_bert_config.json": {"max_seq_length": 128, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "3.0"}, "similarity_fn_name": "cosine",
        },
        "1_Pooling/config.json": {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True},
        "2_Dense/config.json": {"in_features": 8, "out_features": 4, "activation_function": tanh},
    }  # fmt: skip
    for name, value in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value))
    weights = {"linear.weight": torch.randn(4, 8), "linear.bias": torch.randn(4)}
    save_file(weights, folder / "2_Dense" / "model.safetensors")


KINDS: dict[str, Callable[[Path], None]] = {
    f.__name__: f for f in (text, image, speech, language, sentence)
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, make in KINDS.items():
        made[name] = tmp_path_factory.mktemp(name) / "a"
        made[name].mkdir()
        make(made[name])
    return made


@pytest.fixture
def pair(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    def made(kind: str) -> tuple[Path, Path]:
        return folders[kind], Path(shutil.copytree(folders[kind], tmp_path / "b"))

    return made


def gate(a: Path, b: Path) -> Report:
    return judge(ModelPath(str(b)), ModelPath(str(a)), Policy())


def rewrite(path: Path, change: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


# ---------------------------------------------------------------- the last byte that matters


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value that is no container, and of two of each list and vocabulary."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())[: 2 if "vocab" in path else None]
    elif isinstance(value, list):
        items = list(enumerate(value))[:2]
    if not items:
        yield path
    for key, inner in items:
        yield from leaves(inner, (*path, key))


def changed(value: Any, path: tuple[Any, ...]) -> Any:
    value = copy.deepcopy(value)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    old = holder[path[-1]]
    if isinstance(old, bool):
        holder[path[-1]] = not old
    elif isinstance(old, (int, float)):
        holder[path[-1]] = old + 1
    else:
        holder[path[-1]] = f"{old[:-1]}~" if isinstance(old, str) else "~"
    return value


def matters(path: tuple[Any, ...]) -> bool:
    names = {str(p) for p in path}
    listed = names & _HARMLESS or any(map(_HARMLESS_PATTERN.fullmatch, names))
    return not listed and not names & _NOTHING and path[-1] not in ("idx", "name")


# Fields of parts that the folder's model has not: a second table of words, a pooler, a summary.
_ABSENT_PARTS = {
    "text": ("tie_word_embeddings",), "image": ("pooler_", "encoder_stride"),
    "language": ("summary_",),
}  # fmt: skip


def mutants(file: Path, kind: str) -> Iterator[bytes]:
    raw = file.read_bytes()
    if file.suffix == ".json":
        value = json.loads(raw)
        yield from (
            json.dumps(changed(value, p)).encode()
            for p in leaves(value)
            if p and matters(p) and not str(p[-1]).startswith(_ABSENT_PARTS.get(kind, ("~",)))
        )
    else:
        yield raw[:-2] + bytes((raw[-2] ^ 1, raw[-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_byte_that_matters(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    a, b = folders[kind], tmp_path / "b"
    shutil.copytree(a, b)
    same = gate(a, b)
    assert same.exit_code == 0 and "unchanged" in same.summary
    tried = 0
    for file in sorted(p for p in a.rglob("*") if p.is_file() and p.parent / p.name != a / MAIN):
        there = b / file.relative_to(a)
        for mutant in mutants(file, kind):
            there.write_bytes(mutant)
            where = f"{file.relative_to(a)}: {mutant[-300:]!r}"
            tried += 1
            assert gate(a, b).exit_code != 0, where
            if tried % 5 == 0:  # the gate's own check is the same, but for the values
                assert check(a, b, CheckOptions(intent="replace")).exit_code != 0, where
        there.write_bytes(file.read_bytes())
    assert tried > 15
    # The weights are what a new model changes: another model, and never called the same.
    raw = (b / MAIN).read_bytes()
    (b / MAIN).write_bytes(raw[:-2] + bytes((raw[-2] ^ 1, raw[-1])))
    assert "unchanged" not in gate(a, b).summary


MAIN = "model.safetensors"


@pytest.mark.parametrize("kind", KINDS)
def test_what_people_and_trainers_leave_in_the_folder_does_not_matter(
    kind: str, pair: Callable[[str], tuple[Path, Path]]
) -> None:
    a, b = pair(kind)
    for name in ("README.md", ".gitattributes", "trainer_state.json", "runs/events.out.tfevents.1",
                 "checkpoint-10/config.json", "all_results.json", "training_args.bin"):  # fmt: skip
        (b / name).parent.mkdir(parents=True, exist_ok=True)
        (b / name).write_bytes(b"{}")
    report = gate(a, b)
    assert report.exit_code == 0 and "unchanged" in report.summary


@pytest.mark.parametrize(
    ("name", "kind"),
    [("weird.json", "unknown"), ("assets/table.tsv", "unknown"), ("modeling_x.py", "code"),
     ("onnx/model.onnx", "other weights")],
)  # fmt: skip
def test_a_file_that_no_list_knows_is_unknown(
    name: str, kind: str, pair: Callable[[str], tuple[Path, Path]]
) -> None:
    a, b = pair("image")
    for folder, value in ((a, b"[1]"), (b, b"[2]")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(value)
    try:
        report = check(a, b, CheckOptions(intent="replace"))
        assert report.outcome is Answer.UNKNOWN
        (found,) = (f for f in report.findings if f.rule == "part-changed")
        assert found.place == name and found.facts["kind"] == kind
    finally:
        (a / name).unlink()


# ---------------------------------------------------------------- retrained, with the same parts


@pytest.mark.parametrize("kind", KINDS)
def test_a_retrained_model_with_the_same_parts_replaces_the_old_one(
    kind: str, pair: Callable[[str], tuple[Path, Path]]
) -> None:
    a, b = pair(kind)
    for file in b.rglob("*.safetensors"):
        from safetensors.torch import load_file

        save_file({k: v + 0.01 for k, v in load_file(file).items()}, file, {"format": "pt"})
    # A rewritten file with the same content is the same.
    for file in b.rglob("*.json"):
        value = json.loads(file.read_text())
        if isinstance(value, dict):
            file.write_text(json.dumps(dict(reversed(value.items())), indent=7))
    report = gate(a, b)
    assert report.outcome is Answer.YES, report.summary
    assert "unchanged" not in report.summary


def test_another_sampling_rate_is_a_no(pair: Callable[[str], tuple[Path, Path]]) -> None:
    a, b = pair("speech")
    rewrite(b / "preprocessor_config.json", lambda c: c.update(sampling_rate=8000))
    report = check(a, b, CheckOptions(intent="replace"))
    assert report.outcome is Answer.NO
    assert report.summary == "replace: no, sampling_rate 16000 -> 8000"


# ---------------------------------------------------------------- config.json


@pytest.mark.parametrize(
    ("change", "transfer", "replaced"),
    [
        ({"num_attention_heads": 1}, "no", "no"),
        ({"hidden_act": "relu"}, "no", "no"),
        ({"layer_norm_eps": 1e-3}, "no", "no"),
        ({"rope_theta": 5.0}, "unknown", "unknown"),  # what A takes for it stands in no file
        ({"problem_type": "multi_label_classification"}, "yes", "no"),
        ({"problem_type": None}, "yes", "yes"),
        ({"architectures": ["BertForTokenClassification"]}, "yes", "no"),
        ({"something_new": 3}, "unknown", "unknown"),
        ({"return_dict": False}, "yes", "no"),  # a caller gets a tuple
        ({"return_dict": True, "torchscript": False}, "yes", "yes"),
        ({"chunk_size_feed_forward": 2, "summary_type": "first"}, "yes", "yes"),
        ({"dtype": "float16"}, "yes", "unknown"),
        ({"hidden_dropout_prob": 0.5, "_name_or_path": "x", "transformers_version": "4"}, "yes",
         "yes"),
    ],
)  # fmt: skip
def test_a_field_of_the_config(
    change: dict[str, Any], transfer: str, replaced: str,
    pair: Callable[[str], tuple[Path, Path]],
) -> None:  # fmt: skip
    a, b = pair("text")
    rewrite(b / "config.json", lambda c: c.update(change))
    report = check(a, b)
    verdicts = {v.intent: str(v.answer) for v in report.verdicts}
    assert (verdicts[Intent.TRANSFER], verdicts[Intent.REPLACE]) == (transfer, replaced)
    assert verdicts[Intent.RELOAD] == "yes"
    found = [f for f in report.findings if f.rule == "config-changed"]
    assert len(found) == (transfer != "yes" or replaced != "yes")


def test_configs_within_configs(pair: Callable[[str], tuple[Path, Path]]) -> None:
    _, b = pair("text")
    rewrite(b / "config.json", lambda c: c.update(vision_config={"hidden_act": "gelu"}))
    shutil.copytree(b, b.with_name("c"))
    rewrite(b.with_name("c") / "config.json", lambda c: c["vision_config"].update(hidden_act="x"))
    report = check(b, b.with_name("c"), CheckOptions(intent="transfer"))
    assert report.summary.endswith("config.json: vision_config.hidden_act gelu -> x")


def test_a_smaller_model_of_the_same_interface_may_take_over(
    pair: Callable[[str], tuple[Path, Path]],
) -> None:
    a, b = pair("image")
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
    config = ViTConfig(**sizes, intermediate_size=8, image_size=16, patch_size=8, **NAMES)
    ViTForImageClassification(config).save_pretrained(b)
    verdicts = {v.intent: v.answer for v in check(a, b).verdicts}
    assert verdicts[Intent.REPLACE] is Answer.YES and verdicts[Intent.TRANSFER] is Answer.NO


# ---------------------------------------------------------------- modules and missing parts


def test_the_modules_of_a_sentence_model_are_facts(folders: dict[str, Path]) -> None:
    manifest = read(folders["sentence"], content_hash=True)
    assert [m.name for m in manifest.modules] == ["Transformer", "Pooling", "Dense", "Normalize"]
    assert manifest.modules[2].config["out_features"] == 4 and not manifest.absent
    assert all(p.sha256 and not p.fault for p in manifest.parts)


def test_a_sentence_model_needs_neither_head_nor_labels(folders: dict[str, Path]) -> None:
    from interop.check import inspect
    from interop.identity import identify_file

    report = inspect([identify_file(folders["sentence"])])
    assert report.outcome is Answer.YES and report.findings == ()


def test_weights_of_a_module_alone_are_unknown_and_other_tensors_a_no(
    pair: Callable[[str], tuple[Path, Path]],
) -> None:
    a, b = pair("sentence")
    place = b / "2_Dense" / MAIN
    save_file({"linear.weight": torch.ones(4, 8), "linear.bias": torch.ones(4)}, place)
    assert check(a, b, CheckOptions(intent="replace")).outcome is Answer.UNKNOWN
    save_file({"linear.weight": torch.ones(6, 8), "linear.bias": torch.ones(6)}, place)
    assert check(a, b, CheckOptions(intent="replace")).outcome is Answer.NO


@pytest.mark.parametrize(
    ("lost", "said"),
    [("tokenizer*", "no such file (tokenizer)"), ("1_Pooling", "1_Pooling: its config.json"),
     ("2_Dense/model*", "2_Dense: its weights are missing"), ("modules.json", "(module)")],
)  # fmt: skip
def test_a_part_that_is_not_there(
    lost: str, said: str, pair: Callable[[str], tuple[Path, Path]]
) -> None:
    a, b = pair("sentence")
    for place in list(b.glob(lost)):
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    report = check(a, b, CheckOptions(intent="replace"))
    assert report.outcome is Answer.NO
    assert any(f.rule == "part-missing" and said in f.what for f in report.findings)


def test_a_part_that_only_the_candidate_has_is_unknown(
    pair: Callable[[str], tuple[Path, Path]],
) -> None:
    a, b = pair("text")
    report = check(b, a, CheckOptions(intent="replace"))
    assert report.outcome is Answer.YES
    (b / "generation_config.json").write_text("{}")
    assert check(a, b, CheckOptions(intent="replace")).outcome is Answer.UNKNOWN


# ---------------------------------------------------------------- files that nobody means well with


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[" * 100_000, b"null", b"\xff\xfe", b'{"model": 3}', b'"\\ud800"']
)
@pytest.mark.parametrize(
    "name", ["tokenizer.json", "1_Pooling/config.json", "vocab.json", "spiece.model",
             "generation_config.json", "sentence_bert_config.json", "2_Dense/model.safetensors"]
)  # fmt: skip
def test_a_part_that_is_broken_is_told_and_never_the_same(
    name: str, raw: bytes, pair: Callable[[str], tuple[Path, Path]]
) -> None:
    a, b = pair("sentence")
    (b / name).write_bytes(raw)
    assert check(a, b, CheckOptions(intent="replace")).outcome is not Answer.YES
    assert gate(a, b).exit_code in (1, 3)


@pytest.mark.parametrize("name", ["tokenizer.json", "1_Pooling/config.json"])
def test_a_part_that_would_take_gigabytes_is_not_read(
    name: str, pair: Callable[[str], tuple[Path, Path]]
) -> None:
    a, b = pair("sentence")
    (b / name).write_bytes(b'{"x":[' + b"[1]," * 1_600_000 + b"1]}")
    report = check(a, b, CheckOptions(intent="replace"))
    assert report.outcome is not Answer.YES
    assert any("too many values" in f.what or "far too large" in f.what for f in report.findings)


def test_a_link_out_of_the_folder_is_not_followed(
    pair: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    a, b = pair("text")
    secret = tmp_path / "elsewhere.json"
    shutil.copy(a / "tokenizer.json", secret)
    (b / "tokenizer.json").unlink()
    (b / "tokenizer.json").symlink_to(secret)
    (part,) = (p for p in read(b, content_hash=True).parts if p.path == "tokenizer.json")
    assert part.sha256 is None and "leads out" in part.fault
    assert check(a, b, CheckOptions(intent="replace")).outcome is Answer.UNKNOWN
    assert gate(a, b).exit_code == 3


def test_the_links_of_the_hubs_cache_are(folders: dict[str, Path], tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    for n, file in enumerate(p for p in folders["sentence"].rglob("*") if p.is_file()):
        shutil.copy(file, blobs / str(n))
        there = snapshot / file.relative_to(folders["sentence"])
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(blobs / str(n))
    assert not any(p.fault for p in read(snapshot).parts)
    assert "unchanged" in gate(folders["sentence"], snapshot).summary


def test_a_folder_of_very_many_files_is_not_called_the_same(
    pair: Callable[[str], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interop.reading.parts.MAX_PARTS", 2)
    a, b = pair("text")
    assert gate(a, b).exit_code != 0


def test_two_plain_files_have_no_parts(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pth")
    manifest = read(tmp_path / "a.pth")
    assert parts.compare(manifest, manifest).changes == () and not manifest.parts
    assert list(changes({}, {})) == []


def test_configs_of_two_libraries_are_compared_in_what_they_share(
    pair: Callable[[str], tuple[Path, Path]],
) -> None:
    a, b = pair("image")
    ours = {"inputs": [], "arch": "x", "labels": ["neg", "pos"], "problem_type": "regression"}
    (b / "config.json").write_text(json.dumps(ours))
    (found,) = (f for f in check(a, b).findings if f.rule == "config-changed")
    assert found.what == "config.json: problem_type absent -> regression"


def test_an_adapter_on_another_base_is_not_known_to_be_the_same(tmp_path: Path) -> None:
    stated = {"base_model_name_or_path": "org/base", "lora_alpha": 8, "lora_dropout": 0.1,
              "target_modules": ["q", "v"]}  # fmt: skip
    for name in "ab":
        (tmp_path / name).mkdir()
        weights = {
            "base.q.lora_A.weight": torch.ones(2, 4),
            "base.q.lora_B.weight": torch.ones(4, 2),
        }
        save_file(weights, tmp_path / name / "adapter_model.safetensors", {"format": "pt"})
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(stated))

    def said(**change: Any) -> list[str]:
        raw = json.dumps({**stated, **change})
        (tmp_path / "b" / "adapter_config.json").write_text(raw)
        found = check(tmp_path / "a", tmp_path / "b").findings
        return [str(f.answer) for f in found if f.rule == "config-changed"]

    assert said(lora_alpha=16) == ["no"]
    assert said(base_model_name_or_path="org/other") == ["unknown"]
    assert said(target_modules=["v", "q"], lora_dropout=0.0) == []


@pytest.mark.parametrize(("kind", "transfer"), [("text", "yes"), ("language", "no")])
def test_a_tied_vocabulary_matters_where_there_is_a_head_of_words(
    kind: str, transfer: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    sides = []
    for tied in (True, False):
        side = tmp_path / str(tied)
        shutil.copytree(folders[kind], side)
        config = json.loads((side / "config.json").read_text())
        (side / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": tied}))
        sides.append(side)
    report = check(*sides)
    assert {v.intent: str(v.answer) for v in report.verdicts}["transfer"] == transfer
    found = [f for f in report.findings if f.rule == "config-changed"]
    assert bool(found) == (transfer == "no")


def test_each_file_of_a_bundle_counts(folders: dict[str, Path], tmp_path: Path) -> None:
    """Its graph, weights, configs and parts: the receipt names the bytes of each."""
    a, b = tmp_path / "a", tmp_path / "b"
    assert export(identify_file(folders["sentence"]), a).outcome is Answer.YES
    shutil.copytree(a, b)
    assert "unchanged" in gate(a, b).summary
    files = [p.relative_to(a) for p in sorted(a.rglob("*")) if p.is_file()]
    assert {Path("model.onnx"), Path("1_Pooling/config.json")} <= {*files}
    for file in files:
        raw = (b / file).read_bytes()
        for at in (len(raw) // 2, len(raw) - 2):
            if file.name == "interop.json" and at < len(raw) - 2:
                continue  # a second that a proof took is no matter
            (b / file).write_bytes(raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :])
            assert gate(a, b).exit_code != 0, file
        (b / file).write_bytes(raw)
    # A receipt that promises something else, rightly signed.
    rewrite(b / "interop.json", lambda r: r["proofs"].pop())
    assert gate(a, b).exit_code != 0


def test_fields_of_a_part_that_is_not_there_change_nothing(
    pair: Callable[[str], tuple[Path, Path]],
) -> None:
    a, b = pair("image")  # no pooler, no decoder that paints a picture
    rewrite(b / "config.json", lambda c: c.update(pooler_act="relu", encoder_stride=4))
    assert {str(v.answer) for v in check(a, b).verdicts} == {"yes"}


def test_longer_positions_and_a_counter_of_another_shape_leave_transfer_alone(
    tmp_path: Path,
) -> None:
    state = {"a.weight": torch.ones(4, 4), "a.position_ids": torch.arange(5)[None],
             "bn.weight": torch.ones(4), "bn.num_batches_tracked": torch.tensor(3),
             "head.weight": torch.ones(2, 4), "head.bias": torch.ones(2)}  # fmt: skip
    torch.save(state, tmp_path / "a.pth")
    other = {**state, "a.position_ids": torch.arange(7)[None]}
    other["bn.num_batches_tracked"] = torch.tensor([3])
    torch.save(other, tmp_path / "b.pth")
    verdicts = {v.intent: v.answer for v in check(tmp_path / "a.pth", tmp_path / "b.pth").verdicts}
    assert verdicts[Intent.TRANSFER] is Answer.YES
    assert verdicts[Intent.RELOAD] is Answer.NO


@pytest.mark.parametrize("wider", [True, False])
def test_a_graph_that_takes_more_than_the_old_one_takes_over(wider: bool, tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    def graph(name: str, axes: list[int | str]) -> Path:
        node = helper.make_node("Relu", ["x"], ["y"])
        ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, axes) for n in "xy"]
        model = helper.make_model(helper.make_graph([node], "g", ports[:1], ports[1:]))
        (tmp_path / name).write_bytes(model.SerializeToString())
        return tmp_path / name

    narrow, open_ = graph("narrow.onnx", ["batch", 3, 32]), graph("open.onnx", ["batch", 3, "w"])
    pair = (narrow, open_) if wider else (open_, narrow)
    rules = {f.rule for f in check(*pair).findings}
    assert ("input-contract-changed" in rules) != wider
