"""A runtime and a data set -> its predictions, their scores, and how two sets of them differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interop.bench.lanes import Contender
from interop.data import Folder
from interop.errors import ModelError
from interop.facts import Json, Measurement
from interop.proof.statistics import change, share
from interop.runtimes import Runtime

BATCH = 32
RESAMPLES = 2000
SEED = 0
_SHOWN_FLIPS = 200


@dataclass(frozen=True, slots=True)
class Predictions:
    """What one runtime answered: `logits` (n, classes), `truth` (n,), and each sample's hash."""

    role: str
    runtime: str
    labels: tuple[str, ...]
    hashes: tuple[str, ...]
    paths: tuple[str, ...]
    truth: NDArray[np.int64]
    logits: NDArray[np.float32]

    @property
    def of(self) -> str:
        return f"{self.role} {self.runtime}"

    @property
    def answers(self) -> NDArray[np.int64]:
        """The class of the largest output, (n,)."""
        answers: NDArray[np.int64] = self.logits.argmax(axis=1)
        return answers

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each answer is the truth, (n,)."""
        right: NDArray[np.bool_] = self.answers == self.truth
        return right

    def as_json(self) -> dict[str, Json]:
        """Answers by sample hash, so that stored reports can be compared later."""
        return {
            "of": self.of,
            "labels": list(self.labels),
            "samples": {
                h: [self.labels[t], self.labels[a]]
                for h, t, a in zip(self.hashes, self.truth, self.answers, strict=True)
            },
        }


def predict(
    contender: Contender, folder: Folder, runtime: Runtime, say: Callable[[str], None]
) -> Predictions:
    """Run every sample once. Raises ModelError where the outputs are no class scores."""
    logits: list[NDArray[np.float32]] = []
    truth: list[NDArray[np.int64]] = []
    hashes: list[str] = []
    assert contender.preprocessing is not None
    for batch in folder.batches(contender.preprocessing, BATCH):
        out = runtime.run(batch.pictures)
        if out.shape != (len(batch.labels), len(contender.labels)):
            raise ModelError(
                f"gives outputs of shape {out.shape} for {len(batch.labels)} samples and "
                f"{len(contender.labels)} labels",
                where=contender.identity.manifest.path,
                fix="bench measures classifiers: one score a label",
            )
        logits.append(out)
        truth.append(batch.labels)
        hashes += batch.hashes
        say(f"{contender.role} {runtime.name}: {len(hashes)} of {len(folder)} samples")
    return Predictions(
        contender.role,
        runtime.name,
        contender.labels,
        tuple(hashes),
        tuple(str(s.path) for s in folder.samples),
        np.concatenate(truth),
        np.concatenate(logits),
    )


def scores(found: Predictions) -> list[Measurement]:
    """Top-1 and top-5 with Wilson's interval, macro F1 with a bootstrap interval."""
    conditions = {
        "group": "accuracy",
        "of": found.of,
        "model": found.role,
        "runtime": found.runtime,
        "samples": len(found.truth),
    }
    made = [share("top-1", found.right, conditions)]
    if found.logits.shape[1] > 5:
        best = np.argpartition(found.logits, -5, axis=1)[:, -5:]
        made.append(share("top-5", (best == found.truth[:, None]).any(axis=1), conditions))
    classes = len(found.labels)
    value = macro_f1(found.truth, found.answers, classes)
    rng = np.random.default_rng(SEED)
    picks = rng.integers(0, len(found.truth), (RESAMPLES, len(found.truth)))
    spread = [macro_f1(found.truth[p], found.answers[p], classes) for p in picks]
    low, high = np.quantile(spread, (0.025, 0.975))
    made.append(Measurement("macro F1", "share", value, (low, high), conditions=conditions))
    return made


def between_runtimes(native: Predictions, exported: Predictions) -> list[Measurement]:
    """What the change of runtime did: the same model, the same samples."""
    of = f"{native.role}: {exported.runtime} against {native.runtime}"
    conditions = {
        "group": "change of runtime",
        "of": of,
        "model": native.role,
        "between": "runtimes",
    }
    same = native.answers == exported.answers
    largest = float(np.abs(native.logits - exported.logits).max())
    return [
        share("agreement", same, conditions),
        Measurement("flips", "count", float((~same).sum()), conditions=conditions),
        Measurement("largest logit difference", "abs", largest, conditions=conditions),
    ]


def between_models(a: Predictions, b: Predictions) -> list[Measurement]:
    """Can B stand in for A on the task: both run natively, answers compared by label."""
    names = np.array(a.labels), np.array(b.labels)
    same = names[0][a.answers] == names[1][b.answers]
    # Both folders list the same files in the same order: the labels are the same set.
    lost = a.right & ~b.right
    conditions: dict[str, Json] = {
        "group": "change of model",
        "of": "B against A",
        "between": "models",
    }
    flips = [
        {
            "sample": a.hashes[i],
            "path": a.paths[i],
            "truth": a.labels[a.truth[i]],
            "a": a.labels[a.answers[i]],
            "b": b.labels[b.answers[i]],
        }
        for i in np.flatnonzero(~same)[:_SHOWN_FLIPS]
    ]
    points, test = change(a.right, b.right, conditions)
    return [
        points,
        share("agreement", same, conditions),
        Measurement(
            "flips", "count", float((~same).sum()), conditions={**conditions, "flipped": flips}
        ),
        share("negative flips", lost, conditions),
        test,
    ]


def macro_f1(truth: NDArray[np.int64], answers: NDArray[np.int64], classes: int) -> float:
    """The mean over classes of 2 TP / (2 TP + FP + FN), over classes that occur in either."""
    hits = np.bincount(truth[truth == answers], minlength=classes)
    seen = np.bincount(truth, minlength=classes) + np.bincount(answers, minlength=classes)
    there = seen > 0
    return float((2 * hits[there] / seen[there]).mean())
