"""torchvision's own data sets, as they lie on a disk; nothing is fetched."""

import gzip
import pickle
import struct
from hashlib import md5

import numpy as np
import pytest
from PIL import Image

from interop.data.vision import Torchvision, recognised
from interop.errors import ConfigError, DataError

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A CIFAR-10 of four pictures in its own files; torchvision is told their hashes."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3072)).astype(np.uint8)
    batch = pickle.dumps({"data": pixels, "labels": [3, 8, 8, 0]})
    meta = pickle.dumps({"label_names": list(CIFAR)})
    (folder / "test_batch").write_bytes(batch)
    (folder / "batches.meta").write_bytes(meta)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5(batch).hexdigest()]])
    monkeypatch.setattr(CIFAR10, "train_list", [])
    known = {**CIFAR10.meta, "md5": md5(meta).hexdigest()}
    monkeypatch.setattr(CIFAR10, "meta", known)
    return tmp_path


@pytest.fixture
def mnist(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.arange(2 * 784).reshape(2, 28, 28).astype(np.uint8)
    for part in ("t10k", "train"):
        images = struct.pack(">4i", 2051, 2, 28, 28) + pixels.tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(images)
        labels = struct.pack(">2i", 2049, 2) + bytes([7, 0])
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(labels)
        (raw / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return tmp_path


def test_its_classes_are_the_models_by_name(cifar):
    data = Torchvision(f"CIFAR10={cifar}", "image-classification", CIFAR[::-1])
    records = list(data.records())
    assert [CIFAR[::-1][r.truth] for r in records] == ["cat", "ship", "ship", "airplane"]
    assert records[0].raw.size == (32, 32)
    assert len({r.sha256 for r in records}) == 4
    assert [r.name for r in data.records([1, 3])] == ["test 1", "test 3"]
    with pytest.raises(DataError, match="'truck' is no label of the model, which has 'airplane'"):
        Torchvision(f"CIFAR10={cifar}", "image-classification", CIFAR[:-1])


def test_a_folder_is_known_by_what_torchvision_put_in_it(cifar):
    assert recognised(cifar) == recognised(cifar / "cifar-10-batches-py") == f"CIFAR10={cifar}"
    assert recognised(cifar.parent) is None


@pytest.mark.parametrize("labels", [DIGITS, tuple("0123456789")])
def test_any_spelling_of_a_class_will_do(mnist, labels):
    assert recognised(mnist) == recognised(mnist / "MNIST") == f"MNIST={mnist}"
    data = Torchvision(f"MNIST={mnist}", "image-classification", labels[::-1])
    assert [labels[::-1][r.truth] for r in data.records()] == [labels[7], labels[0]]
    assert Torchvision(f"MNIST={mnist}", "image-classification", labels, "train").split == "train"


def test_masks_come_with_their_pictures(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    Image.new("RGB", (3, 2)).save(root / "JPEGImages" / "a.jpg")
    mask = np.array([[0, 255, 1], [2, 2, 2]], dtype=np.uint8)
    Image.fromarray(mask).save(root / "SegmentationClass" / "a.png")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    spec = f"VOCSegmentation={tmp_path}"
    (record,) = Torchvision(spec, "image-segmentation", ["a", "b", "c"]).records()
    assert np.array_equal(record.truth, mask)
    with pytest.raises(DataError, match="number 2, and the model has 2 labels"):
        list(Torchvision(spec, "image-segmentation", ["a", "b"]).records())
    with pytest.raises(DataError, match="where a class number is needed"):
        list(Torchvision(spec, "image-classification", ["a", "b"]).records())


def test_what_does_not_lie_there_is_an_error_and_never_fetched(tmp_path):
    with pytest.raises(DataError, match=r"cannot read CIFAR10 there \(RuntimeError: Dataset not"):
        Torchvision(f"CIFAR10={tmp_path}", "image-classification", CIFAR)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="no data set 'os'"):
        Torchvision(f"os={tmp_path}", "image-classification", CIFAR)
    with pytest.raises(ConfigError, match="names no folder"):
        Torchvision("CIFAR10", "image-classification", CIFAR)
