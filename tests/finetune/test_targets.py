"""What is to be learned, where nobody says it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from interop.errors import ConfigError, DataError
from interop.facts import Labels
from interop.finetune import targets
from interop.finetune.options import FinetuneOptions
from interop.models.backbone import find

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
HOW = FinetuneOptions(out=Path("m"))


def rows(path: Path, made: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def test_the_task_by_model_and_data(tmp_path: Path, digits: Path) -> None:
    base, text = find(str(digits / "base.pth")), find(str(FIXTURES / "text" / "model"))
    pictures = digits / "heldout"
    assert targets.task_name(base, pictures, HOW) == "image-classification"
    assert (
        targets.task_name(base, pictures, FinetuneOptions(out=Path("m"), task="regression"))
        == "regression"
    )
    said = Labels(None, "--labels", applicable=False)
    assert (
        targets.task_name(base, pictures, FinetuneOptions(out=Path("m"), labels=said))
        == "regression"
    )
    whole = rows(tmp_path / "a.jsonl", [{"text": "a", "label": str(i)} for i in range(3)])
    parts = rows(tmp_path / "b.jsonl", [{"text": "a", "label": str(i + 0.5)} for i in range(3)])
    assert targets.task_name(text, whole, HOW) == "text-classification"
    assert targets.task_name(text, parts, HOW) == "regression"
    sounds = find(str(FIXTURES / "speech" / "model"))
    heard = FIXTURES / "speech" / "heldout"
    assert targets.task_name(sounds, heard, HOW) == "audio-classification"
    with pytest.raises(ConfigError, match="'object-detection' is not learned here"):
        targets.task_name(base, pictures, FinetuneOptions(out=Path("m"), task="object-detection"))


def test_labels_are_the_data_sets_or_ones_own(tmp_path: Path, digits: Path) -> None:
    base = find(str(digits / "base.pth"))
    task, pictures = "image-classification", digits / "heldout"
    assert targets.labels_of(base, task, pictures, HOW)[:2] == ("eight", "five")
    own = FinetuneOptions(out=Path("m"), labels=Labels(("b", "a"), "--labels"))
    assert targets.labels_of(base, task, pictures, own) == ("b", "a")
    with pytest.raises(ConfigError, match="which characters are to be written"):
        targets.labels_of(find(str(FIXTURES / "speech" / "model")), targets.SPEECH, pictures, HOW)
    (tmp_path / "only").mkdir()
    shutil.copy(next((pictures / "one").iterdir()), tmp_path / "only")
    with pytest.raises(DataError, match="has 1 class"):
        targets.labels_of(base, task, tmp_path, HOW)


def test_backbones_without_a_word_on_their_inputs(tmp_path: Path) -> None:
    text = FIXTURES / "text" / "model"
    for name in ("config.json", "model.safetensors"):
        shutil.copy(text / name, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    with pytest.raises(ConfigError, match="what is to be learned stands in no file"):
        targets.task_name(find(str(tmp_path)), tmp_path, HOW)
