"""What lies beside a candidate's weights -> how it was trained, as far as anything says so."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from pathlib import Path

from interop.facts import Identity, Json

# What people call the settings of a training, by the word that the report uses.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "optimizer": ("optimizer", "optim", "opt"),
    "learning rate": ("learning_rate", "rate", "lr", "base_lr"),
    "epochs": ("epochs", "num_train_epochs", "num_epochs", "epoch", "max_epochs"),
    "batch": ("batch", "batch_size", "train_batch_size", "per_device_train_batch_size"),
    "weight decay": ("weight_decay", "wd"),
    "data": ("data", "dataset", "datasets", "train_data", "data_path"),
    "base": ("base", "base_model", "base_model_name_or_path", "pretrained"),
    "seed": ("seed",),
}
# Where a checkpoint keeps them: its own record, a trainer's arguments.
_PLACES = ("training", "args", "hyper_parameters", "hparams", "config", "training.json",
           "trainer_state.json", "training_args")  # fmt: skip
_PIECE = 6  # bytes of a sample's hash that a record keeps
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_LINE = re.compile(r"^([A-Za-z_]+):\s*(.*)$")


def training(identity: Identity) -> dict[str, str]:
    """Each setting that is known, in words, with where it stands; {} where nothing tells."""
    metadata = identity.manifest.metadata
    settings: dict[str, str] = {}
    for place in _PLACES:
        if isinstance(record := metadata.get(place), Mapping):
            _take(settings, _flat(record), place)
    _take(settings, metadata, "the checkpoint")
    path = Path(identity.manifest.path)
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        _take(settings, _json(folder / "training.json"), "training.json")
        _take(settings, _card(folder / "README.md"), "README.md")
    return settings


def trained_on(identity: Identity, hashes: Sequence[str]) -> int | None:
    """How many of the samples, by their content hashes, the model was trained on or chosen by, as
    its own record says (`interop finetune` lists them); None where nothing tells."""
    listed = _seen(identity)
    return None if listed is None else sum(bytes.fromhex(h[:12]) in listed for h in hashes)


def _seen(identity: Identity) -> frozenset[bytes] | None:
    path = Path(identity.manifest.path)
    stands = {**identity.manifest.metadata, **(_whole(path / "training.json") if path.is_dir()
              else {})}  # fmt: skip
    record = stands.get("training")
    data = record.get("data") if isinstance(record, Mapping) else None
    listed = data.get("seen") if isinstance(data, Mapping) else None
    if not isinstance(listed, str) or not listed:
        return None
    try:
        pieces = b64decode(listed, validate=True)
    except ValueError:
        return None
    return frozenset(pieces[i : i + _PIECE] for i in range(0, len(pieces), _PIECE))


def _take(known: dict[str, str], record: Mapping[str, Json], place: str) -> None:
    for word, names in _WORDS.items():
        value = next((record[n] for n in names if n in record), None)
        if word not in known and value is not None and (text := _said(value)):
            known[word] = f"{text} ({place})"


def _said(value: Json) -> str:
    """A setting in a few words; "" of what is none (an optimizer's state)."""
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, (str, int, float)):
        return str(value)[:60]
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return str(value["name"])[:60]
    if isinstance(value, list) and value and all(isinstance(v, (str, int, float)) for v in value):
        return ", ".join(map(str, value))[:60]
    return ""


def _json(path: Path) -> Mapping[str, Json]:
    return _flat(_whole(path))


def _whole(path: Path) -> Mapping[str, Json]:
    import json

    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, Mapping) else {}


def _flat(document: Mapping[str, Json]) -> Mapping[str, Json]:
    """A record with its settings beside the rest, and its data set by number and hash."""
    record = document.get("training")
    inner = record if isinstance(record, Mapping) else document
    settings = inner.get("settings")
    settings_of = {**document, **inner, **(settings if isinstance(settings, Mapping) else {})}
    data = settings_of.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("sha256"), str):
        settings_of["data"] = f"{data.get('samples')} samples, sha256 {data['sha256'][:12]}…"
    return settings_of


def _card(path: Path) -> Mapping[str, Json]:
    """The plain entries of a model card's front matter: names with one value, or a list of them."""
    try:
        front = _FRONT.match(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}
    entries: dict[str, Json] = {}
    name = ""
    for line in front.group(1).splitlines() if front else ():
        if (entry := _LINE.match(line)) is not None:
            name = entry.group(1)
            entries[name] = entry.group(2).strip("\"' ") or []
        elif line.lstrip().startswith("- ") and isinstance(entries.get(name), list):
            entries[name].append(line.lstrip()[2:].strip("\"' "))
    return {k: v for k, v in entries.items() if v}
