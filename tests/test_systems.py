"""The systems that people retrain go the whole way: fine-tuned, assessed, checked, exported and
measured, on real pictures, texts and (synthetic) speech of the fixtures.

Weights that cannot be shipped are drawn at random: what is tested is that nothing is lost on the
way, never how well such a model answers.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from interop.assess import AssessOptions, assess
from interop.bench import BenchOptions, bench
from interop.check import check
from interop.check.options import CheckOptions
from interop.export import ExportOptions, export
from interop.facts import Answer, Preprocessing, Report
from interop.finetune import FinetuneOptions, finetune
from interop.identity import identify_file
from tests.conftest import DIGITS, ROOT
from tests.helpers.digits import LABELS, held_back

TEXT, SPEECH = ROOT / "fixtures" / "text", ROOT / "fixtures" / "speech"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Five of the held-back digits of each class."""
    return held_back(tmp_path_factory.mktemp("pictures"), 5)


@dataclass
class System:
    """A backbone's file or folder, the data, and what its commands are given besides."""

    backbone: str
    data: Path
    task: str
    mode: str = "probe"
    factory: str | None = None
    backbones_factory: str | None = None
    features: str = ""
    how: Preprocessing | None = None
    probed: bool = True
    folder: bool = False


def goes_through(system: System, tmp_path: Path) -> dict[str, Report]:
    """All five steps; each must hold."""
    out = tmp_path / ("tuned" if system.folder else "tuned.pth")
    tuned = finetune(
        system.backbone,
        system.data,
        FinetuneOptions(
            out=out, task=system.task, mode=system.mode, epochs=1, batch=16, validation="0.25",
            factory=system.factory, preprocessing=system.how,
        ),
    )  # fmt: skip
    assert tuned.outcome is Answer.YES, tuned.summary
    loaded = tuned.proofs[0]
    assert loaded.name == "loaded fraction" and loaded.holds

    checked = check(system.backbone, out, CheckOptions(intent="transfer"))
    transfer = next(v for v in checked.verdicts if v.intent == "transfer")

    models = [system.backbone, str(out), f"random:{out}"] if system.probed else [str(out)]
    names = {"tuned": system.factory} if system.factory else {}
    if system.backbones_factory:
        names[Path(system.backbone).stem] = system.backbones_factory
        names["random tuned"] = system.factory or ""
    parts = dict.fromkeys(names, system.features) if system.features else {}
    assessed = assess(
        models,
        system.data,
        AssessOptions(
            task=system.task,
            folds=2,
            held=0.0,
            seconds=0,
            samples=(),
            cache=None,
            preprocessing=system.how,
            factories=names,
            features=parts,
        ),
    )
    assert len(assessed.details.candidates) == len(models)

    identity = identify_file(out, content_hash=True, whole=True)
    exported = export(identity, tmp_path / "bundle", ExportOptions(factory=system.factory))
    assert exported.outcome is Answer.YES, exported.summary
    assert all(p.holds for p in exported.proofs) and len(exported.proofs) == 5

    bundle = identify_file(tmp_path / "bundle", content_hash=True, whole=True)
    measuring = BenchOptions(task=system.task, batches=(), factory=system.factory)
    benched = bench([bundle], system.data, measuring)
    alike = next(m for m in benched.measurements if m.name == "agreement")
    assert alike.value == 1.0, "ONNX Runtime answers as PyTorch does"
    return {"finetune": tuned, "check": checked, "assess": assessed, "export": exported,
            "bench": benched, "transfer": transfer}  # fmt: skip


def drawn(name: str, side: int, path: Path) -> tuple[str, Preprocessing]:
    """A torchvision checkpoint with weights drawn at random, and how its pictures are prepared."""
    from torchvision.models import get_model

    torch.manual_seed(0)
    module = get_model(name, weights=None)
    torch.save({"state_dict": module.state_dict(), "arch": name}, path)
    return str(path), Preprocessing((side, side), (0.31,) * 3, (0.38,) * 3)


@pytest.mark.parametrize(
    ("name", "side"), [("resnet18", 32), ("resnet50", 32), ("vgg11", 32), ("inception_v3", 80)]
)
def test_pictures_by_a_torchvision_backbone(name, side, pictures, tmp_path):
    path, how = drawn(name, side, tmp_path / "backbone.pth")
    done = goes_through(System(path, pictures, "image-classification", how=how), tmp_path)
    assert done["transfer"].answer is Answer.YES, "the backbone is untouched by a probe"
    candidates = {c.name: c for c in done["assess"].details.candidates}
    assert "adamw" in candidates["tuned"].training["optimizer"]
    # It was trained on these very pictures, its file says so, and nothing good is concluded.
    assert candidates["tuned"].trained_on == 50 and candidates["backbone"].trained_on is None
    pairs = {(p.a, p.b): p.stands_in for p in done["assess"].details.interchange}
    assert all(verdict != "yes" for (_, b), verdict in pairs.items() if b == "tuned")
    assert done["bench"].details.task == "image-classification"


def test_pictures_by_the_encoder_of_an_autoencoder(pictures, tmp_path):
    own = f"{ROOT}/fixtures/autoencoder.py"
    how = Preprocessing((64, 64), (0.31,) * 3, (0.38,) * 3)
    system = System(
        str(DIGITS / "autoencoder.pth"), pictures, "image-classification",
        factory=f"{own}:ConvClassifier", backbones_factory=f"{own}:ConvAutoencoder",
        features="encoder", how=how,
    )  # fmt: skip
    done = goes_through(system, tmp_path)
    left = done["finetune"].proofs[0].facts["left_aside"]
    assert left and all(n.startswith("decoder.") for n in left)


def text_folder(kind: str, path: Path) -> str:
    """A tiny random model of a family, with the tokenizer of the text fixture."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(TEXT / "model")
    size = len(tokenizer)
    torch.manual_seed(0)
    if kind == "gpt2":
        config: Any = transformers.GPT2Config(
            vocab_size=size, n_positions=128, n_embd=32, n_layer=2, n_head=4,
            bos_token_id=0, eos_token_id=tokenizer.sep_token_id,
        )  # fmt: skip
        model: Any = transformers.GPT2LMHeadModel(config)
    else:
        sizes = {
            "vocab_size": size, "hidden_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 130,
            "pad_token_id": tokenizer.pad_token_id, "type_vocab_size": 2,
        }  # fmt: skip
        kinds = {
            "bert": (transformers.BertConfig, transformers.BertForMaskedLM),
            "roberta": (transformers.RobertaConfig, transformers.RobertaForMaskedLM),
        }
        config_class, model_class = kinds[kind]
        model = model_class(config_class(**sizes))
    model.save_pretrained(path)
    tokenizer.model_max_length = 100
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    """Sixty of the held-back texts."""
    out = tmp_path_factory.mktemp("texts") / "texts.csv"
    with (TEXT / "heldout.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("text", "label"))
        writer.writeheader()
        writer.writerows(random.Random(0).sample(rows, 60))
    return out


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2"])
def test_texts_by_a_transformer(kind, texts, tmp_path):
    backbone = text_folder(kind, tmp_path / kind)
    system = System(backbone, texts, "text-classification", mode="full", folder=True)
    done = goes_through(system, tmp_path)
    config = json.loads((tmp_path / "tuned" / "config.json").read_text())
    assert sorted(config["label2id"]) == ["Dutch", "French", "German", "Italian", "Spanish"]
    assert done["bench"].details.task == "text-classification"


def test_names_in_texts_by_bert(texts, tmp_path):
    data = tmp_path / "tags.jsonl"
    with texts.open(encoding="utf-8", newline="") as file:
        sentences = [row["text"].split()[:12] for row in csv.DictReader(file)]
    lines = [
        json.dumps({"words": w, "tags": ["B-NAME" if x[:1].isupper() else "O" for x in w]})
        for w in sentences
        if w
    ]
    data.write_text("\n".join(lines) + "\n", "utf-8")
    backbone = text_folder("bert", tmp_path / "bert")
    system = System(backbone, data, "token-classification", mode="full", folder=True)
    done = goes_through(system, tmp_path)
    assert done["bench"].details.task == "token-classification"
    probed = [m for m in done["assess"].measurements if m.name == "accuracy"]
    assert probed and done["assess"].details.folds.how.count("group")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Five of the held-back clips of each digit, and a table of what is said in them."""
    out = tmp_path_factory.mktemp("clips")
    rows = []
    for label in LABELS:
        (out / label).mkdir()
        for file in sorted((SPEECH / "heldout" / label).iterdir())[:5]:
            shutil.copy(file, out / label / file.name)
            rows.append({"path": f"{label}/{file.name}", "transcript": label})
    with (out / "said.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("path", "transcript"))
        writer.writeheader()
        writer.writerows(rows)
    return out


def test_spoken_digits_by_wav2vec2(clips, tmp_path):
    for name in LABELS:
        shutil.copytree(clips / name, tmp_path / "clips" / name)
    system = System(
        str(SPEECH / "model"), tmp_path / "clips", "audio-classification", mode="full", folder=True
    )
    done = goes_through(system, tmp_path)
    assert done["bench"].details.task == "audio-classification"


def test_speech_is_written_down_by_wav2vec2(clips, tmp_path):
    import transformers

    characters = sorted(set("".join(LABELS)))
    vocabulary = {c: i for i, c in enumerate(["<pad>", "<unk>", "|", *characters])}
    backbone = tmp_path / "wav2vec2"
    shutil.copytree(SPEECH / "model", backbone)
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json")).save_pretrained(backbone)
    system = System(
        str(backbone), clips / "said.csv", "automatic-speech-recognition", mode="full",
        probed=False, folder=True,
    )  # fmt: skip
    done = goes_through(system, tmp_path)
    own = {m.name: m.value for m in done["assess"].measurements}
    benched = {m.name: m.value for m in done["bench"].measurements if m.name == "WER"}
    assert own["WER"] == pytest.approx(benched["WER"])


DEEPSPEECH = """
import json, sys
import numpy as np, torch
from interop.models.libraries.torchaudio.build import imported
from interop.assess import AssessOptions, assess
from interop.bench import BenchOptions, bench
from interop.check import check
from interop.export import ExportOptions, export
from interop.facts import Answer
from interop.identity import identify_file
from interop.identity.user_facts import UserFacts

folder = sys.argv[1]
torch.manual_seed(0)
kind = imported("deepspeech", "deepspeech").DeepSpeech
labels = ("-", *"abcdefghijklmnopqrstuvwxyz", " ")
for name in ("a", "b"):
    module = kind(n_feature=16, n_hidden=32, n_class=len(labels))
    torch.save({"state_dict": module.state_dict(), "labels": list(labels)}, f"{folder}/{name}.pth")
random = np.random.default_rng(0)
np.savez(
    f"{folder}/said.npz",
    input=random.normal(size=(12, 1, 20, 16)).astype(np.float32),
    labels=np.array(["zero", "one", "two"] * 4),
)
arch = "torchaudio/deepspeech"
named = UserFacts(arch=arch)
one, two = (identify_file(f"{folder}/{n}.pth", named, content_hash=True, whole=True)
            for n in "ab")
exported = export(one, f"{folder}/bundle", ExportOptions(arch=arch))
bundle = identify_file(f"{folder}/bundle", named, content_hash=True, whole=True)
task = "automatic-speech-recognition"
benched = bench([bundle], f"{folder}/said.npz", BenchOptions(task=task, batches=(), arch=arch))
assessed = assess([f"{folder}/a.pth", f"{folder}/b.pth"], f"{folder}/said.npz",
                  AssessOptions(arch=arch, task=task, seconds=0))
print(json.dumps({
    "reload": check(f"{folder}/a.pth", f"{folder}/b.pth").outcome,
    "export": exported.outcome,
    "proofs": [p.holds for p in exported.proofs],
    "agreement": next(m.value for m in benched.measurements if m.name == "agreement"),
    "WER": [next(m.value for m in r.measurements if m.name == "WER") for r in (benched, assessed)],
    "pairs": len(assessed.details.interchange),
}))
"""


@pytest.mark.installs
def test_speech_by_deepspeech(tmp_path):
    """torchaudio's own class, in a process of its own: installed beside another torch, the package
    breaks the imports of others."""
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, "torchaudio"], check=True, capture_output=True)
    run = subprocess.run(
        [sys.executable, "-c", DEEPSPEECH, str(tmp_path)], capture_output=True, text=True,
        cwd=ROOT, env={"PYTHONPATH": f"{ROOT}:{site}", "PATH": "/usr/bin:/bin"}, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["reload"] == "yes" and found["export"] == "yes" and all(found["proofs"])
    assert found["agreement"] == 1.0 and found["pairs"] == 2
    assert found["WER"][0] == pytest.approx(found["WER"][1])


def test_a_step_that_fails_is_seen(pictures, tmp_path):
    """The same way with a backbone that lacks a tensor ends at its first step."""
    path, how = drawn("resnet18", 64, tmp_path / "backbone.pth")
    held = torch.load(path, weights_only=True)
    del held["state_dict"]["layer3.0.conv1.weight"]
    torch.save(held, path)
    with pytest.raises((AssertionError, Exception), match=r"loaded|backbone|architecture"):
        goes_through(System(path, pictures, "image-classification", how=how), tmp_path)
