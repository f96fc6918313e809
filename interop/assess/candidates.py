"""A model as a person named it -> its features and answers on a data set, kept by content.

What a frozen backbone makes of a sample never changes: it is computed once, and found again by the
hash of the weights, of the samples and of how they were prepared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop import __version__
from interop.assess import parallel
from interop.assess.dataset import DataSpec
from interop.data import preparation
from interop.data.base import Data, Preparation, Prepared
from interop.data.tokens import unread
from interop.errors import ConfigError, ModelError
from interop.facts import AnyPreprocessing, Json, Labels, TaskName
from interop.models.backbone import Features, PretrainedSource, bare, find, input_names
from interop.runtimes import clock
from interop.tasks import task as task_of

BATCH = 32
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class CandidateSpec:
    """One candidate as it was asked for; small, so that it goes to other processes.

    `name` is unique among the candidates. `factory` and `features` are of one's own modules.
    """

    name: str
    given: str
    arch: str | None = None
    factory: str | None = None
    features: str = ""
    labels: Labels | None = None
    preprocessing: AnyPreprocessing | None = None
    seed: int = 0
    strict: bool = False
    known: PretrainedSource | None = field(default=None, compare=False, repr=False)

    def source(self) -> PretrainedSource:
        """The weights that are meant: `known` ones are not looked for again."""
        return self.known or find(
            self.given,
            arch=self.arch,
            labels=self.labels,
            preprocessing=self.preprocessing,
            strict=self.strict,
            own=self.factory is not None,
        )


@dataclass(slots=True)
class Seen:
    """What a candidate makes of a data set.

    `features` float32 (rows, width), None where the task is not probed. `outputs` float32
    (records, classes) are its own head's, where it has one that gives a row of numbers a record;
    `answers` its own answers as texts, of a task whose answers are. `seconds` is processor
    time, of the run that computed them.
    """

    features: Array | None
    outputs: Array | None
    answers: tuple[str, ...] | None
    seconds: float
    cached: bool = False
    about: dict[str, Json] = field(default_factory=dict)

    def as_arrays(self) -> dict[str, Array]:
        """All of it as arrays by name, which files and other processes take."""
        header = {
            "about": self.about, "seconds": self.seconds, "answers": self.answers,
            "cached": self.cached,
        }  # fmt: skip
        arrays: dict[str, Array] = {"said": np.array(json.dumps(header))}
        if self.features is not None:
            arrays["features"] = self.features
        if self.outputs is not None:
            arrays["outputs"] = self.outputs
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Seen:
        header = json.loads(str(arrays["said"]))
        answers = header["answers"]
        return cls(
            arrays.get("features"), arrays.get("outputs"),
            None if answers is None else tuple(answers),
            header["seconds"], header["cached"], header["about"],
        )  # fmt: skip


def names_of(given: Sequence[str]) -> list[str]:
    """A short name for each, no two the same: the file's stem, with folders where it takes them."""
    parts = [_parts(g) for g in given]
    names: list[str] = []
    for own in parts:
        others = [p for p in parts if p is not own]
        depth = 1
        while depth < len(own) and any(p[-depth:] == own[-depth:] for p in others):
            depth += 1
        names.append("/".join(own[-depth:]))
    before = [names[:place].count(name) for place, name in enumerate(names)]
    return [f"{n} ({count + 1})" if count else n for n, count in zip(names, before, strict=True)]


def _parts(given: str) -> list[str]:
    mark = "random " if given.startswith("random:") else ""
    plain = Path(given.removeprefix("random:"))
    own = [p for p in plain.with_suffix("").parts if p not in ("/", ".", "..")]
    own = own if plain.suffix in _SUFFIXES else [p for p in plain.parts if p not in ("/", "..")]
    return [*own[:-1], mark + own[-1]] if own else [given]


_BESIDE = (".json", ".txt", ".model", ".spm", ".bpe", ".codes")
_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".onnx", ".ckpt", ".tar")


def see(
    spec: CandidateSpec,
    data: DataSpec,
    folder: Path | None,
    device: str = "cpu",
    threads: int | None = None,
) -> Seen:
    """The candidate's features and answers on all records; from `folder` where they are there.

    Raises what `find`, `bare`, `preparation` and `Features` raise.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    source = spec.source()
    opened = data.open()
    features = bare(source, factory=spec.factory, at=spec.features, seed=spec.seed)
    features.module.to(device)
    _check_kind(spec, source, opened)
    names = input_names(source, features)
    prepare = preparation(source.identity, data.task, names, kind=opened.kind)
    key = _key(spec, source, features, data, opened, prepare)
    if folder is not None and key and (kept := parallel.load(folder, key)) is not None:
        seen = Seen.from_arrays(kept)
        seen.cached = True
        return seen
    complaint = unread(prepare, opened.records(), "texts", f"{data.path}, read for {spec.name}")
    seen = _run(features, opened, prepare, data, device)
    if seen.features is not None and not np.isfinite(seen.features).all():
        what = f"gives features that are no numbers{_not_finite(features)}"
        fix = "look at it with interop inspect --values, and leave it out"
        raise ModelError(what, where=spec.given, fix=fix, rule="tensor-not-finite")
    seen.about |= {"features": features.how, "prepared": dict(prepare.said), "unread": complaint}
    if folder is not None and key:
        parallel.store(folder, key, seen.as_arrays())
    return seen


def see_or_refuse(*given: Any) -> Seen:
    """`see`; where the weights do not fill the backbone, what is to be said: `about["refused"]`."""
    try:
        return see(*given)
    except ModelError as error:
        if error.rule != "loaded-fraction-low":
            raise
        return Seen(None, None, None, 0.0, about={"refused": error.what})


def _check_kind(spec: CandidateSpec, source: PretrainedSource, data: Data) -> None:
    """ConfigError where a model of pictures is given something else."""
    if source.library in ("torchvision", "timm") and data.kind in ("texts", "sounds"):
        raise ConfigError(
            f"is {source.library}/{source.arch}, which takes pictures, and {data.path} holds "
            f"{data.kind}",
            where=spec.given,
            fix="assess models that take the same kind of data",
        )


def _not_finite(features: Features) -> str:
    """Which weights are no numbers, if any are."""
    bad = [n for n, t in features.module.state_dict().items() if not t.isfinite().all()]
    return f" (nor are its weights {', '.join(bad[:3])})" if bad else ""


def _run(
    features: Features, opened: Data, prepare: Preparation, data: DataSpec, device: str
) -> Seen:
    vectors: list[Array] = []
    outputs: list[Array | None] = []
    answers: list[str] = []
    probed = data.task != TaskName.SPEECH_RECOGNITION
    if not probed and not features.answers:
        what = f"has no head for {data.task}, and speech is assessed by a model's own answers"
        raise ConfigError(what, fix="fine-tune it first (interop finetune)")
    task = task_of(data.task, data.labels) if not probed else None
    warm = next(prepare.batches(opened, 1), None)
    if warm is not None:  # what a process does once is no cost of this model's
        features(warm.inputs, device)
    began, on_device = process_time(), 0.0
    for batch in prepare.batches(opened, BATCH):
        by_word = data.task == TaskName.TOKEN_CLASSIFICATION
        stop = clock.started() if device == "cuda" else None
        states, answered = features(batch.inputs, device, pooled=not by_word)
        on_device += stop() / 1000 if stop is not None else 0.0
        if probed:
            vectors += _of_words(states, batch) if by_word else _of_records(states, batch)
            outputs.append(_rows(answered, batch))
        if task is not None and answered is not None:
            texts = task.answers({"logits": answered}, batch, prepare)
            answers += [str(task.key(a)) for a in texts]
    kept = None if not outputs or any(o is None for o in outputs) else outputs
    return Seen(
        np.stack(vectors).astype(np.float32) if vectors else None,
        np.concatenate([o for o in kept if o is not None]) if kept else None,
        tuple(answers) if task is not None else None,
        process_time() - began,
        about={"device_seconds": on_device} if device == "cuda" else {},
    )


def _of_records(states: Array, batch: Prepared) -> Iterator[Array]:
    """One vector a record: the mean of its rows."""
    rows = np.array(batch.rows)
    for place in range(len(batch.records)):
        yield states[rows == place].mean(axis=0)


def _of_words(states: Array, batch: Prepared) -> Iterator[Array]:
    """One vector a word: that of its first token; zeros where it was cut off."""
    for place, record in enumerate(batch.records):
        own = np.zeros((len(record.truth), states.shape[-1]), dtype=np.float32)
        seen: set[int] = set()
        for row in [r for r, of in enumerate(batch.rows) if of == place]:
            for step, word in enumerate(batch.about[row]["words"]):
                if word is not None and word not in seen and word < len(own):
                    own[word] = states[row, step]
                    seen.add(word)
        yield from own


def _rows(answered: Array | None, batch: Prepared) -> Array | None:
    """The head's outputs, one row a record; None where they are of another form."""
    if answered is None or answered.ndim != 2 or len(answered) != len(batch.rows):
        return None
    rows = np.array(batch.rows)
    return np.stack([answered[rows == i].mean(axis=0) for i in range(len(batch.records))])


# ---------------------------------------------------------------- what is kept on disk


def content(spec: CandidateSpec, source: PretrainedSource) -> str:
    """One name for a candidate's weights and for what lies beside them in its folder and changes
    what they make of a sample (config, tokenizer); "" where nothing tells."""
    of = source.sha256 or (f"{spec.given} seed {spec.seed}" if source.random else "")
    path = Path(source.identity.manifest.path)
    folder = path if path.is_dir() else path.parent
    if not of or (source.library != "transformers" and folder != path):
        return of
    digest = sha256(of.encode())
    for file in sorted(p for p in folder.iterdir() if p.suffix in _BESIDE and p.is_file()):
        digest.update(file.name.encode() + b"\0" + sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _key(
    spec: CandidateSpec,
    source: PretrainedSource,
    features: Features,
    data: DataSpec,
    opened: Data,
    prepare: Preparation,
) -> str:
    """The name under which features are kept; "" where what they are of has no hash."""
    if spec.factory is not None:
        return ""  # somebody's code may have changed
    of = content(spec, source)
    if not of:
        return ""
    shapes = sorted((n, tuple(t.shape)) for n, t in features.module.state_dict().items())
    digest = sha256()
    for record in opened.records():
        digest.update(record.sha256.encode())
    text = json.dumps(
        [
            __version__, of, source.library, source.arch, features.how, spec.features, data.task,
            list(data.labels), dict(prepare.said), digest.hexdigest(), shapes,
        ],
        sort_keys=True, default=str,
    )  # fmt: skip
    return sha256(text.encode()).hexdigest()
