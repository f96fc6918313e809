"""`inspect --data`, and the measured preparation that other commands take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from interop.errors import DataError, ModelError, Unsettled
from interop.facts import Evidence, Fed, Standing
from interop.identity import identify_file
from interop.imprint import measure, pipeline, preparation, stated_divergence
from interop.imprint.answers import asked_of
from interop.imprint.search import Images, Trial
from tests.conftest import Run
from tests.imprint.fed import BYTES, IMAGENET, fed, photos, saved, small

FACTORY = Path(__file__).with_name("fed.py")


SIZES = (32, 40, 48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("images"), photos()[:64])


def checkpoint(path: Path, module: nn.Module, **more: object) -> Path:
    torch.save({"state_dict": module.state_dict(), **more}, path)
    return path


def of(path: Path, data: Path, sizes: tuple[int, ...] = SIZES) -> Fed:
    return measure(identify_file(path), data, factory=f"{FACTORY}:small", sizes=sizes)


def test_a_preparation_is_measured(tmp_path: Path, folder: Path) -> None:
    path = checkpoint(tmp_path / "model.pth", fed(small(), photos(), BYTES))
    seen = of(path, folder)
    assert seen.within and seen.samples == 64 and len(seen.layers) == 5
    said = {a.question: (a.standing, a.answer) for a in seen.answers}
    assert said["scale"] == (Standing.MEASURED, "0 to 255")
    assert said["order of colours"] == (Standing.MEASURED, "RGB")
    assert said["mean and std"][0] is Standing.MEASURED
    how = preparation(of(path, folder, sizes=(40,)), identify_file(path))
    assert (how.scale, how.size, how.color) == (1.0, (40, 40), "RGB")
    assert how.std == pytest.approx((1.0,) * 3, rel=0.05)
    assert how.evidence is Evidence.MEASURED and "64 images" in how.source


def test_what_is_undecided_is_not_measured(tmp_path: Path, folder: Path) -> None:
    path = checkpoint(tmp_path / "model.pth", fed(small(), photos(), BYTES))
    seen = of(path, folder)
    size = seen.answer("size")
    assert size is not None and size.standing is Standing.UNDECIDED and seen.preprocess is None
    with pytest.raises(Unsettled, match="size: ") as told:
        preparation(seen, identify_file(path))
    assert told.value.exit_code == 3


def test_other_images_say_nothing_but_the_scale(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    noise = [Image.fromarray(dice.integers(0, 256, (96, 96, 3), np.uint8)) for _ in range(64)]
    path = checkpoint(tmp_path / "model.pth", fed(small(), photos(), BYTES))
    seen = of(path, saved(tmp_path / "noise", noise))
    assert not seen.within and seen.preprocess is None
    assert {a.standing for a in seen.answers if a.question != "scale"} <= {
        Standing.FOREIGN, Standing.NOT_ASKED
    }  # fmt: skip
    with pytest.raises(Unsettled, match="not of the kind that it was trained on") as told:
        preparation(seen, identify_file(path))
    assert told.value.exit_code == 3


SILENT = {
    "no BatchNorm": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), "it has no BatchNorm"),
    "never trained": (small(), "they were never trained"),
    "unsettled": (fed(small(), photos(), BYTES, batches=46), "only 46 batches were tracked"),
}


@pytest.mark.parametrize("name", SILENT)
def test_networks_that_remember_nothing(name: str) -> None:
    module, why = SILENT[name]
    assert why in pipeline.silent(module)
    assert stated_divergence(module.eval(), Images(photos()).inputs(BYTES, 16)) is None


def test_counts_of_before_torch_0_4_1_do_not_silence() -> None:
    assert pipeline.silent(fed(small(), photos(), BYTES, batches=0)) == ""


def test_few_images_are_too_few_and_some_are_said_to_be(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "model.pth", fed(small(), photos(), BYTES))
    seen = of(path, saved(tmp_path / "few", photos()[:5]))
    assert seen.why == "5 images are too few: give 59 more" and not seen.tried
    with pytest.raises(Unsettled, match="or give 59 more images"):
        preparation(seen, identify_file(path))


def test_an_activation_that_is_not_the_module_s_own_is_found(tmp_path: Path, folder: Path) -> None:
    path = checkpoint(tmp_path / "model.pth", fed(small(nn.SiLU), photos(), IMAGENET))
    seen = of(path, folder)  # small() has ReLU
    answer = seen.answer("architecture")
    assert answer is not None and answer.standing is Standing.MEASURED
    assert answer.answer == "with SiLU in place of ReLU"


def test_arrays(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "model.pth", fed(small(), photos(), IMAGENET))
    inputs = Images(photos()[:64]).inputs(IMAGENET, 64).numpy()
    np.savez(tmp_path / "right.npz", x=inputs)
    np.savez(tmp_path / "bgr.npz", x=inputs[:, ::-1])
    np.savez(tmp_path / "two.npz", x=inputs, z=inputs)
    np.savez(tmp_path / "flat.npz", x=inputs[:, 0, 0])
    seen = of(path, tmp_path / "right.npz")
    answer = seen.answer("mean and std")
    assert answer is not None and answer.answer == "as they are"
    # How pictures become such arrays is in no array.
    assert seen.preprocess is None
    with pytest.raises(Unsettled, match="arrays do not show"):
        preparation(seen, identify_file(path))
    answer = of(path, tmp_path / "bgr.npz").answer("order of colours")
    assert answer is not None and answer.answer == "BGR"
    for name, what in (("two", "holds x, z"), ("flat", "not an image")):
        with pytest.raises(DataError, match=what):
            of(path, tmp_path / f"{name}.npz")


def test_weights_of_another_module_are_refused(tmp_path: Path, folder: Path) -> None:
    path = checkpoint(tmp_path / "model.pth", nn.Sequential(nn.Conv2d(3, 8, 3)))
    with pytest.raises(ModelError):
        of(path, folder)


def test_stated_preparations_are_tried_and_their_divergence_is_measured(
    tmp_path: Path, folder: Path
) -> None:
    module = fed(small(), photos(), BYTES)
    for how, low in ((BYTES, True), (IMAGENET, False)):
        identity = replace(
            identify_file(checkpoint(tmp_path / "model.pth", module)), preprocessing=how
        )
        seen = measure(identity, folder, factory=f"{FACTORY}:small", sizes=SIZES)
        assert seen.stated is not None and (seen.stated < seen.floor) is low
        (m,) = seen.measurements("model.pth")
        assert m.value == seen.stated
        inputs = Images(photos()[:64]).inputs(how, 64)
        assert stated_divergence(module, inputs) == pytest.approx(seen.stated, rel=1e-4)


def test_the_command_prints_a_table_and_a_picture(
    tmp_path: Path, folder: Path, interop: Run
) -> None:
    path = checkpoint(tmp_path / "model.pth", fed(small(), photos(), BYTES))
    reports = [tmp_path / "r.json", tmp_path / "r.html", tmp_path / "r.md"]
    asked = [f"{kind}:{p}" for kind, p in zip(("json", "html", "markdown"), reports, strict=True)]
    done = interop(
        "inspect", path, "--data", folder, "--model", f"{FACTORY}:small",
        *(word for one in asked for word in ("--report", one)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    lines = " ".join(done.stdout.split())
    assert "how it was fed, by 64 images of" in lines
    assert "scale measured 0 to 255 (the next is" in lines
    found = json.loads(reports[0].read_text("utf-8"))["details"]["fed"]
    assert found["samples"] == 64 and found["tried"][0]["divergence"] < 0.02
    page = reports[1].read_text("utf-8")
    assert "<svg" in page and "Divergence by layer" in page
    assert "| scale | measured | 0 to 255" in reports[2].read_text("utf-8")


def test_bad_data_is_one_line(tmp_path: Path, interop: Run) -> None:
    path = checkpoint(tmp_path / "model.pth", fed(small(), photos(), BYTES))
    done = interop("inspect", path, "--data", tmp_path / "none", "--model", f"{FACTORY}:small")
    assert done.returncode == 2 and "no such file or folder" in done.stderr
    (tmp_path / "empty").mkdir()
    done = interop("inspect", path, "--data", tmp_path / "empty", "--model", f"{FACTORY}:small")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) <= 2


def test_layers_that_disagree_measure_no_preparation() -> None:
    """The first layers say BGR, all of them together RGB: neither is called measured."""
    bgr = replace(BYTES, color="BGR")

    def fed_by(rgb_first: float) -> Fed:
        rgb = Trial(BYTES, "0 to 255", "", (rgb_first,) * 3 + (0.001,) * 4)
        other = Trial(bgr, "0 to 255", "", (0.005,) * 3 + (0.5,) * 4)
        nothing = Fed("images", 64, 64, pipeline.FLOOR)
        return pipeline._fed(nothing, [rgb, other], (), asked_of(""))

    assert fed_by(0.001).preprocess is not None and not fed_by(0.001).unmeasured
    seen = fed_by(0.015)
    assert seen.preprocess is None
    assert seen.unmeasured == "the first and the later layers disagree (order of colours)"
