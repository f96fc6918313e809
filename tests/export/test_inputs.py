"""The shape of the inputs is taken from what tells it, in a stated order, and never guessed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import list_models

from fixtures.make import DIGITS
from interop.errors import ModelError
from interop.export.inputs import _torchvisions, pictures
from interop.facts import Preprocessing
from tests.export.conftest import of

ANY_SIZE = Preprocessing(resize=(40,), mean=(0.5,), std=(0.5,), color="L")


@pytest.fixture(scope="module")
def identity():
    return of(DIGITS / "shufflenet.pth")


def test_samples_come_first(identity):
    given = np.ones((4, 3, 50, 50), np.float64)
    found, kind = pictures(identity, nn.Identity(), given)
    assert (found.shape, found.dtype, kind) == ((4, 3, 50, 50), np.float32, "real")


def test_then_the_preprocessing_then_the_module_then_torchvision(identity):
    module = nn.Identity()
    assert pictures(identity, module, None)[0].shape == (10, 3, 64, 64)
    gray = replace(ANY_SIZE, crop=(28, 30))
    assert pictures(replace(identity, preprocessing=gray), module, None)[0].shape[1:] == (1, 28, 30)
    unknown = replace(identity, preprocessing=None)
    assert pictures(unknown, module, None)[0].shape[1:] == (3, 224, 224)
    assert pictures(replace(identity, preprocessing=ANY_SIZE), module, None)[0].shape[2] == 224
    module.example_input_array = torch.zeros(1, 7)
    found, kind = pictures(unknown, module, None)
    assert (found.shape, kind) == ((10, 7), "seeded")
    with pytest.raises(ModelError, match="size of its input"):
        pictures(replace(unknown, architectures=()), nn.Identity(), None)


def test_seeded_inputs_are_the_same_every_time(identity):
    one, other = (pictures(identity, nn.Identity(), None)[0] for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_every_torchvision_classifier_has_a_size():
    import torchvision.models

    sizes = {n: _torchvisions(n, nn.Identity()) for n in list_models(module=torchvision.models)}
    assert len(sizes) > 70
    assert all(sizes.values())
    assert sizes["inception_v3"] == 299
    module = nn.Identity()
    module.image_size = 384
    assert _torchvisions("vit_b_16", module) == 384
