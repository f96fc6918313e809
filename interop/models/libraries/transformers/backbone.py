"""A transformers folder -> the class for a task with the folder's base model in it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from torch import nn

from interop.errors import ModelError
from interop.facts import Json, Proof, TaskName
from interop.models.initialize import fill
from interop.models.libraries.transformers import build as building
from interop.models.libraries.transformers.build import described
from interop.models.libraries.transformers.catalog import quiet
from interop.models.load_weights import NAME, load
from interop.models.pretrained import Backbone, PretrainedSource

# The Hub's word for a task -> transformers' class that looks up the model class for a config.
_AUTO: dict[str, str] = {
    TaskName.TEXT_CLASSIFICATION: "AutoModelForSequenceClassification",
    TaskName.REGRESSION: "AutoModelForSequenceClassification",
    TaskName.TOKEN_CLASSIFICATION: "AutoModelForTokenClassification",
    TaskName.IMAGE_CLASSIFICATION: "AutoModelForImageClassification",
    TaskName.AUDIO_CLASSIFICATION: "AutoModelForAudioClassification",
    TaskName.SPEECH_RECOGNITION: "AutoModelForCTC",
}


def under_head(
    source: PretrainedSource,
    task: str,
    labels: tuple[str, ...],
    outputs: int,
    padding: int | None = None,
) -> Backbone:
    """Raises ModelError where transformers has no class of this family for the task.

    `padding` is the token that texts are padded with where the config names none; of CTC the blank.
    """
    config = _config(source)
    kind = _class(source, task, config)
    ctc = task == TaskName.SPEECH_RECOGNITION
    if ctc and source.arch == kind:
        given = source  # it keeps its head, and with it its vocabulary
    elif ctc:
        blank = {"vocab_size": outputs, "pad_token_id": padding}
        stated = {k: v for k, v in blank.items() if v is not None}
        given = _with_config(source, {**config, **stated})
    else:
        given = _stating(source, task, labels, outputs, padding)
    module = _built(given, kind)
    notes: tuple[str, ...] = ()
    if source.random:
        fresh, proof = tuple(module.state_dict()), _drawn(kind)
    else:
        old = as_saved(source)
        same = ctc and type(old).__name__ == kind
        state = (old if same else old.base_model).state_dict()
        own = module if same else module.base_model
        inner = _parts_of(own.state_dict()) - _parts_of(state)
        fresh_inside, proof = fill(own, state, new=inner, leave=_pooler(state))
        front = "" if own is module else _front(module)
        fresh = tuple(
            n
            for n in module.state_dict()
            if (front and not n.startswith(front)) or n.removeprefix(front) in fresh_inside
        )
        if inner:
            notes = (f"{', '.join(sorted(inner))} is new: the weights have none",)
    module.requires_grad_(True)
    return Backbone(module.eval(), _head_of(module, fresh), fresh, proof, notes, labels=labels)


def as_saved(source: PretrainedSource) -> Any:
    """The folder's module with all of its weights."""
    _config(source)
    module: Any
    if source.random:
        module = _built(source, source.arch)
    else:
        module, _ = building.build(source.identity, source.arch)
        proof = load(module, source.identity)
        if not proof.holds:
            raise ModelError(
                proof.what, where=source.name, fix="put the config.json beside it that it was "
                "saved with", rule="loaded-fraction-low",
            )  # fmt: skip
    return module.eval()


def _config(source: PretrainedSource) -> dict[str, Json]:
    config = described(source.identity)
    if config is None:
        what = "is transformers', and no config.json lies beside it"
        raise ModelError(what, where=source.name, fix="give the folder that save_pretrained wrote")
    return dict(config)


def _class(source: PretrainedSource, task: str, config: dict[str, Json]) -> str:
    """The name of the family's class for a task."""
    import transformers

    auto: Any = getattr(transformers, _AUTO.get(task, ""), None)
    if auto is None:
        what = f"{task} is no task that a transformers model is fine-tuned for here"
        raise ModelError(what, where=source.name, fix=f"the tasks are {', '.join(_AUTO)}")
    classes = auto._model_mapping._model_mapping.get(config["model_type"])
    if classes is None:
        what = f"transformers has no class of {config['model_type']!r} for {task}"
        fix = "name another task with --task, or another backbone"
        raise ModelError(what, where=source.name, fix=fix)
    return str(classes if isinstance(classes, str) else classes[0])


def _stating(
    source: PretrainedSource, task: str, labels: tuple[str, ...], outputs: int, padding: int | None
) -> PretrainedSource:
    """The source, its config stating the new task."""
    names = labels or tuple(f"LABEL_{i}" for i in range(outputs))
    stated: dict[str, Json] = {
        **_config(source),
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
        "problem_type": "regression" if task == "regression" else None,
    }
    stated.pop("num_labels", None)
    if stated.get("pad_token_id") is None:
        # Classifiers of decoders look for the last token that is no padding.
        end = stated.get("eos_token_id")
        stated["pad_token_id"] = padding if padding is not None else end
    return _with_config(source, stated)


def _with_config(source: PretrainedSource, config: dict[str, Json]) -> PretrainedSource:
    manifest = source.identity.manifest
    metadata = {**manifest.metadata, "config.json": json.loads(json.dumps(config))}
    identity = replace(source.identity, manifest=replace(manifest, metadata=metadata))
    return replace(source, identity=identity)


def _built(source: PretrainedSource, kind: str) -> Any:
    """A module of the class in the source's config, its weights drawn at random."""
    import transformers

    model_class: Any = getattr(transformers, kind, None)
    if model_class is None:
        raise ModelError(f"transformers has no class {kind!r}", where=source.name, fix="--arch")
    settings = building.built_config(model_class, _config(source), source.name)
    with quiet():
        module: nn.Module = model_class(settings)
    return module


def _parts_of(state: dict[str, Any]) -> set[str]:
    return {n.partition(".")[0] for n in state}


def _pooler(state: dict[str, Any]) -> set[str]:
    return {p for p in _parts_of(state) if "pool" in p}


def _front(module: Any) -> str:
    return f"{module.base_model_prefix}."


def _head_of(module: Any, fresh: tuple[str, ...]) -> str:
    """The last module on top of the base model that has fresh weights."""
    inside = _front(module)
    tops = [n.partition(".")[0] for n in fresh if not n.startswith(inside)]
    if tops:
        return tops[-1]
    return next((n for n in ("lm_head", "classifier", "score") if hasattr(module, n)), "")


def _drawn(kind: str) -> Proof:
    facts = {"backbone_fraction": 0.0, "fresh": [], "left_aside": []}
    return Proof(NAME, True, f"nothing was loaded: {kind} with weights drawn at random", facts)
