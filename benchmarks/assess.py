"""A 5-fold linear-probe assessment of four backbones, by `interop assess` and by a plain loop.

    python -m benchmarks.assess [--repeats N] [--pictures N] [--side PIXELS]

Whole processes, in turns; CPU seconds to benchmarks/results/assess.json. The plain loop is what a
person writes: torchvision's ImageFolder and transforms, the features of both parts computed anew in
each fold, and the same probe on them, so that the accuracies have to be the same. What assess does
besides (scores without training, costs, layers held against each other, every pair) counts against
it; its cache is empty each time. Weights are drawn at random: what they know does not change what
they cost. Exit 1 where the goal is missed, or an accuracy differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.process import cost, machine, store

NAMES = ("resnet18", "resnet34", "mobilenet_v3_large", "shufflenet_v2_x1_0")
FOLDS = 5
GOAL = 0.25
MEAN, STD = (0.31, 0.31, 0.31), (0.38, 0.38, 0.38)


def make(folder: Path, pictures: int, side: int) -> None:
    """Pictures of scikit-learn's digits, and a checkpoint of each backbone."""
    import torch
    from torchvision.models import get_model

    from fixtures.make import LABELS, split, write_pictures

    images, classes, training, held = split()
    order = [*training, *held][:pictures]
    write_pictures(folder / "data", images, classes, order)
    how = {"color": "RGB", "resize": [side, side], "interpolation": "bilinear",
           "mean": list(MEAN), "std": list(STD)}  # fmt: skip
    for name in NAMES:
        torch.manual_seed(0)
        module = get_model(name, weights=None, num_classes=len(LABELS))
        saved = {"state_dict": module.state_dict(), "arch": name, "preprocess": how}
        torch.save(saved, folder / f"{name}.pth")


def loop(folder: Path, side: int) -> dict[str, float]:
    """The plain loop: the mean accuracy of each backbone's probes."""
    import numpy as np
    import torch
    from sklearn.model_selection import StratifiedKFold
    from torch import nn
    from torch.utils.data import DataLoader, Subset
    from torchvision import transforms
    from torchvision.datasets import ImageFolder
    from torchvision.models import get_model

    from interop.assess.probes import probe

    prepare = transforms.Compose(
        [transforms.Resize((side, side)), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )
    data = ImageFolder(str(folder / "data"), prepare)
    truth = np.array(data.targets)
    found = {}
    for name in NAMES:
        module = get_model(name, weights=None, num_classes=10)
        module.load_state_dict(torch.load(folder / f"{name}.pth", weights_only=True)["state_dict"])
        if name.startswith("mobilenet"):
            module.classifier[-1] = nn.Identity()
        else:
            module.fc = nn.Identity()
        module.eval()
        scores = []
        splits = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        for train, test in splits.split(truth, truth):
            features = np.zeros((len(truth), 0), dtype=np.float32)
            for part in (train, test):
                batches = DataLoader(Subset(data, part.tolist()), 32)
                with torch.inference_mode():
                    made = np.concatenate([module(x).numpy() for x, _ in batches])
                if not features.shape[1]:
                    features = np.zeros((len(truth), made.shape[1]), dtype=np.float32)
                features[part] = made
            rows = np.arange(len(truth))
            answers = probe(features, truth, 10, rows, train, test, 0)["answers"]
            scores.append(float((answers == truth[test]).mean()))
        found[name] = float(np.mean(scores))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=900)
    parser.add_argument("--side", type=int, default=112)
    parser.add_argument("--loop", type=Path, help="run the plain loop on this folder")
    given = parser.parse_args()
    if given.loop:
        (given.loop / "loop.json").write_text(json.dumps(loop(given.loop, given.side)))
        return 0
    with tempfile.TemporaryDirectory(prefix="interop-benchmark-") as name:
        folder = Path(name)
        # In a process of its own: what this one holds counts as every child's until it starts.
        code = (
            f"from benchmarks.assess import *; make(Path({name!r}), {given.pictures}, {given.side})"
        )
        cost([sys.executable, "-c", code])
        result = measure(folder, given)
    store("assess", result)
    print(json.dumps(result, indent=1))
    return 0 if result["ratio"] <= GOAL and result["accuracies_equal"] else 1


def measure(folder: Path, given: Any) -> dict[str, Any]:
    models = [str(folder / f"{n}.pth") for n in NAMES]
    ours, theirs = [], []
    for _ in range(given.repeats):
        command = [
            sys.executable, "-m", "interop", "assess", *models, "--data", str(folder / "data"),
            "--task", "image-classification", "--folds", str(FOLDS), "--test", "0", "--seconds",
            "0", "--no-cache", "--report", f"json:{folder / 'assess.json'}",
        ]  # fmt: skip
        ours.append(cost(command)[0])
        plain = [sys.executable, "-m", "benchmarks.assess", "--loop", str(folder), "--side",
                 str(given.side)]  # fmt: skip
        theirs.append(cost(plain)[0])
    report = json.loads((folder / "assess.json").read_text())
    assessed = {
        m["conditions"]["of"]: m["value"]
        for m in report["measurements"]
        if m["name"] == "accuracy" and m["conditions"]["group"] == "reuse"
    }
    looped = json.loads((folder / "loop.json").read_text())
    return {
        "machine": machine("torch", "torchvision", "scikit-learn"),
        "pictures": given.pictures,
        "side": given.side,
        "folds": FOLDS,
        "cpu_seconds": {"assess": median(ours), "plain loop": median(theirs)},
        "samples": {"assess": ours, "plain loop": theirs},
        "ratio": median(ours) / median(theirs),
        "goal": GOAL,
        "accuracies": {n: [assessed[n], looped[n]] for n in NAMES},
        "accuracies_equal": all(abs(assessed[n] - looped[n]) < 1e-9 for n in NAMES),
    }


if __name__ == "__main__":
    sys.exit(main())
