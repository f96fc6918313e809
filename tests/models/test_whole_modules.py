"""A whole pickled module of a known library is rebuilt from its records, and nothing runs."""

import copyreg
import os
import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.spectral_norm import SpectralNormStateDictHook
from torchvision import models
from torchvision.models.detection._utils import BoxCoder

from interop.errors import ModelError
from interop.identity import identify_file
from interop.models import built
from interop.models.catalog import module as of_catalog
from interop.models.libraries.transformers import catalog as transformers
from interop.models.load_weights import same_bits
from interop.models.whole_modules import allowed
from tests.helpers.commands import refused

PICTURE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def answers(module, inputs):
    """The tensors of an answer, in their order."""
    torch.manual_seed(0)
    with torch.inference_mode():
        given = module(**inputs) if isinstance(inputs, dict) else module(inputs)
    return list(flat(given))


def flat(given):
    if isinstance(given, torch.Tensor):
        yield given
    elif isinstance(given, (dict, list, tuple)):
        for value in given.values() if isinstance(given, dict) else given:
            yield from flat(value)


def check(module, path, inputs, place=None):
    """It is rebuilt, its weights are proved, and it answers bit for bit as what torch loads."""
    given = path if place is None else f"{path}#{place}"
    again, proof, notes = built(identify_file(given))
    assert proof.holds, proof.what
    assert "rebuilt" in notes[0] and "nothing of the pickle was run" in notes[0]
    assert len(notes) == 1  # and it is what its architecture's name stands for
    assert type(again) is type(module)
    ours, theirs = answers(again, inputs), answers(module, inputs)
    assert len(ours) == len(theirs) and ours and all(map(same_bits, ours, theirs))
    return again


def saved(module, path, **options):
    """The module as plain torch.load gives it back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(module, path, **options)
        return torch.load(path, weights_only=False)


# ---------------------------------------------------------------- what is rebuilt

TORCHVISION = (
    "resnet18", "convnext_tiny", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0",
    "shufflenet_v2_x0_5", "squeezenet1_1", "regnet_y_400mf", "mnasnet0_5",
    "lraspp_mobilenet_v3_large", "googlenet", "densenet121", "quantized_mobilenet_v2",
)  # fmt: skip
TIMM = (
    "resnetblur18", "efficientnet_lite0", "fasternet_t0", "mobilenetv3_small_050",
    "ghostnet_050", "convnext_atto", "edgenext_xx_small", "tf_efficientnet_b0",
)  # fmt: skip
TRANSFORMERS = (
    "BertForSequenceClassification", "GPT2LMHeadModel", "LlamaForCausalLM",
    "T5ForConditionalGeneration", "ViTForImageClassification", "DetrForObjectDetection",
)  # fmt: skip


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name, tmp_path):
    module = of_catalog(f"torchvision/{name}")
    check(saved(module, tmp_path / "whole.pth"), tmp_path / "whole.pth", PICTURE)


@pytest.mark.parametrize("name", TIMM)
def test_timm(name, tmp_path):
    pytest.importorskip("timm")
    module = of_catalog(f"timm/{name}")
    check(saved(module, tmp_path / "whole.pth"), tmp_path / "whole.pth", PICTURE)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name, tmp_path):
    pytest.importorskip("transformers")
    module = of_catalog(f"transformers/{name}", **transformers.configs(name)[0])
    inputs = transformers.inputs(name, module, None)
    again = check(saved(module, tmp_path / "whole.pth"), tmp_path / "whole.pth", inputs)
    assert again.config.to_dict() == module.config.to_dict()


@pytest.mark.parametrize("zipped", [True, False])
def test_detectors_with_their_helpers(tmp_path, zipped):
    module = of_catalog("torchvision/ssdlite320_mobilenet_v3_large", num_classes=5)
    path = tmp_path / "whole.pth"
    again = saved(module, path, _use_new_zipfile_serialization=zipped)
    check(again, path, {"images": [PICTURE[0]]})


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: m])
def test_at_a_place_and_in_a_wrapper(tmp_path, wrap):
    module, other = models.resnet18(num_classes=3).eval(), models.resnet18(num_classes=3).eval()
    torch.save({"model": wrap(module), "ema": other, "epoch": 3}, tmp_path / "whole.pth")
    check(module, tmp_path / "whole.pth", PICTURE, "model")
    check(other, tmp_path / "whole.pth", PICTURE, "ema")


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_norms_of_weights_keep_their_hooks(tmp_path, norm):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = nn.Sequential(norm(nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.LSTM(62, 5)).eval()[:2]
        loaded = saved(module, tmp_path / "whole.pth")
    check(loaded, tmp_path / "whole.pth", PICTURE)


def test_a_module_that_was_scripted_before(tmp_path):
    module = models.resnet18(num_classes=3).eval()
    torch.jit.script(module)  # which leaves an attribute on every part
    assert "__overloads__" in vars(module.conv1)
    torch.save(module, tmp_path / "scripted.pth")
    check(module, tmp_path / "scripted.pth", torch.rand(1, 3, 64, 64))


def test_tied_and_shared_parts_are_one_again(tmp_path):
    layer = nn.Linear(8, 8)
    module = nn.Sequential(layer, nn.LSTM(8, 8).eval(), layer)
    saved(module, tmp_path / "whole.pth")
    again, proof, _ = built(identify_file(tmp_path / "whole.pth"))
    assert proof.holds and again[0] is again[2]
    assert again[1]._flat_weights[0].shape == (32, 8)


def test_what_is_not_the_named_architecture_is_noted(tmp_path):
    module = models.resnet18(num_classes=3).eval()
    module.layer1[0].relu = nn.GELU()
    module.layer2[0].conv1.dilation = (2, 2)
    module.layer2[0].conv1.padding = (2, 2)
    saved(module, tmp_path / "whole.pth")
    again, proof, notes = built(identify_file(tmp_path / "whole.pth"))
    assert proof.holds and same_bits(answers(again, PICTURE)[0], answers(module, PICTURE)[0])
    assert notes[1] == (
        "it is not torchvision/resnet18 as the installed torchvision builds it: layer1.0.relu is "
        "GELU, not ReLU, layer2.0.conv1 has dilation (2, 2), not (1, 1), layer2.0.conv1 has "
        "padding (2, 2), not (1, 1)"
    )


# ---------------------------------------------------------------- what older libraries wrote
# fixtures/older.py wrote them; each weight is one number, repeated.

LARGER = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_torchvision_0_13(older):
    path = older / "torchvision-0.13-resnet18.pth"
    check(torch.load(path, weights_only=False), path, LARGER)


@pytest.mark.parametrize("name, lacking", [
    ("lcnet_035", "conv_s2d"), ("vit_tiny_patch16_224", "strict_img_size"),
])  # fmt: skip
def test_timm_0_9_is_built_by_name_where_todays_forward_needs_more(name, lacking, older):
    pytest.importorskip("timm")
    path = older / f"timm-0.9-{name}.pth"
    loaded = torch.load(path, weights_only=False)
    with pytest.raises(AttributeError, match=lacking):
        loaded(LARGER)
    module, proof, notes = built(identify_file(path))
    assert proof.holds, proof.what
    assert f"no attribute '{lacking}'" in notes[0] and "built by its name" in notes[0]
    assert module(LARGER).shape == (1, 3)


def test_an_older_file_of_several_architectures_asks_for_one(older):
    identity = identify_file(older / "timm-0.9-lcnet_035.pth")
    two = (*identity.architectures, replace(identity.architectures[0], name="timm/lcnet_050"))
    with pytest.raises(ModelError, match="is one of timm/lcnet_035, timm/lcnet_050; choose one"):
        built(replace(identity, architectures=two))


# ---------------------------------------------------------------- what is refused


class Own(nn.Module):
    """Somebody's own module: no library has it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.layer(x)


def zero(module, args, output):
    """A hook that replaces every answer."""
    return output * 0


class Reduced:
    """Stands for an object in a pickle, as a call of somebody's choice and a state."""

    def __init__(self, function, args, state=None):
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.reduced


def with_state(cls, **more):
    """A module as its pickle spells it, with more attributes than its class would pickle."""
    state = {**cls(3, 4, 3).__dict__, "training": False, **more}
    return Reduced(copyreg._reconstructor, (cls, object, None), state)


def runs(marker):
    """What makes a folder when it is unpickled."""
    return Reduced(os.mkdir, (str(marker),))


def spoilt(state):
    """A case: two layers, the first with attributes that an honest pickle does not have."""
    return lambda marker: nested(with_state(nn.Conv2d, **state(marker)))


def nested(child):
    whole = dict(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3)).__dict__)
    whole["_modules"] = {"0": child, "1": whole["_modules"]["1"]}
    return Reduced(copyreg._reconstructor, (nn.Sequential, object, None), whole)


HOSTILE = {
    # name: (what is pickled, what shows that plain unpickling honours it, what the refusal says)
    "own forward": (
        spoilt(lambda _: {"forward": F.relu}), lambda m, _: m[0](-PICTURE).sum() == 0,
        "replaces forward of Conv2d"),
    "its class": (
        spoilt(lambda _: {"__class__": nn.Identity}),
        lambda m, _: m[0].__dict__["__class__"] is nn.Identity, "replaces __class__"),
    "the class of a helper": (
        spoilt(lambda _: {"coder": Reduced(
            copyreg._reconstructor, (BoxCoder, object, None), (None, {"__class__": Own}))}),
        lambda m, _: type(m[0].coder) is Own, "BoxCoder is not pickled as its attributes"),
    "its setstate": (
        spoilt(lambda _: {"__setstate__": F.relu}),
        lambda m, _: m[0].__setstate__ is F.relu, "replaces __setstate__"),
    "a compiled call": (
        spoilt(lambda _: {"_compiled_call_impl": F.relu}), lambda m, _: m[0](-PICTURE).sum() == 0,
        "replaces _compiled_call_impl"),
    "a hook": (
        spoilt(lambda _: {"_forward_hooks": {0: zero}}), lambda m, _: m[0](PICTURE).sum() == 0,
        "hangs a hook"),
    "a hook before": (
        spoilt(lambda m: {"_forward_pre_hooks": {0: partial(os.mkdir, str(m))}}),
        lambda m, _: len(m[0]._forward_pre_hooks) == 1, "hangs a hook"),
    "a child that is a function": (
        lambda _: nested(F.relu), lambda m, _: m[0] is F.relu,
        "the child '0' of a module is not a module"),
    "a name of a property": (
        lambda _: nested(Reduced(copyreg._reconstructor, (nn.LSTM, object, None), {
            **nn.LSTM(2, 2).__getstate__(), "all_weights": [["weight_ih_l0"]]})),
        lambda m, _: m[0]._all_weights == [["weight_ih_l0"]], "replaces all_weights of LSTM"),
    "a call": (
        spoilt(lambda marker: {"extra": runs(marker)}), lambda _, marker: marker.is_dir(),
        r"object of (posix|nt)\.mkdir"),
    "a partial call": (
        spoilt(lambda marker: {"act": partial(os.mkdir, str(marker))}),
        lambda m, marker: m[0].act() is None and marker.is_dir(), r"refers to (posix|nt)\.mkdir"),
    "an attribute of something": (
        spoilt(lambda _: {"act": Reduced(getattr, (nn.functional.relu, "__globals__"))}),
        lambda m, _: "torch" in m[0].act, "reaches for the attribute '__globals__'"),
    "a buffer that is not a tensor": (
        spoilt(lambda _: {"_buffers": {"extra": "text"}}),
        lambda m, _: m[0].extra == "text", "a buffer of a module is not a tensor"),
    "buffers that pass by no set": (
        spoilt(lambda _: {"_non_persistent_buffers_set": 3}),
        lambda m, _: m[0]._non_persistent_buffers_set == 3, "is not a set"),
    "a norm's hook of nothing": (
        spoilt(lambda _: {"_state_dict_hooks": {0: Reduced(
            copyreg._reconstructor, (SpectralNormStateDictHook, object, None), {"fn": None})}}),
        lambda m, _: m[0]._state_dict_hooks[0].fn is None, "do not fit together"),
    "code from the Hub": (
        spoilt(lambda _: {"_use_kernels": True}), lambda m, _: m[0]._use_kernels,
        "asks for code from the Hub"),
    "a loader as an activation": (
        spoilt(lambda _: {"act": torch.load}), lambda m, _: m[0].act is torch.load,
        r"refers to torch\.serialization\.load"),
    "a graph of its own": (
        lambda _: nested(torch.fx.symbolic_trace(nn.Conv2d(3, 4, 3))),
        lambda m, _: isinstance(m[0], torch.fx.GraphModule), "child '0' of a module is not a"),
    "a lazy layer": (
        lambda _: nested(nn.LazyConv2d(4, 3)), lambda m, _: type(m[0]) is nn.LazyConv2d,
        "never rebuilt|not a tensor"),
    "somebody's own class": (
        lambda _: nested(Own()), lambda m, _: type(m[0]) is Own, "Own is not a class of a known"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_replace_code_is_refused(name, tmp_path, interop):
    make, honoured, said = HOSTILE[name]
    marker, path = tmp_path / "marker", tmp_path / "whole.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(make(marker), path)
    line = refused(interop("export", path, "-o", tmp_path / "out"))
    assert "whole.pth: holds a whole pickled module that is not rebuilt" in line
    assert "--trust" in line and line.endswith("[checkpoint-holds-code]")
    with pytest.raises(ModelError, match=said):
        built(identify_file(path))
    assert not marker.exists() and not (tmp_path / "out").exists()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        loaded = torch.load(path, weights_only=False)
        assert honoured(loaded, marker)


def test_values_that_a_class_does_not_take_are_one_clear_error(tmp_path):
    state = {**nn.LSTM(2, 2).__getstate__(), "_all_weights": []}
    odd = nested(Reduced(copyreg._reconstructor, (nn.LSTM, object, None), state))
    torch.save(odd, tmp_path / "whole.pth")
    with pytest.raises(ModelError, match="LSTM does not take its attributes: list index"):
        built(identify_file(tmp_path / "whole.pth"))


@pytest.mark.parametrize("module, name", [
    ("os", "system"), ("torch", "load"), ("torch.hub", "load"), ("timm.models._hub", "load"),
    ("timm.models", "create_model"), ("torchvision.models._api", "get_model"),
    ("torch.nn.modules.module", "register_module_forward_hook"), ("torch.jit", "ScriptModule"),
    ("torch.nn.modules.conv", "Conv2d.forward"), ("torch.nn.modules.conv", "F"),
    ("transformers.models.auto.auto_factory", "_BaseAutoModelClass"),
    ("transformers_modules.somebody.modeling", "Model"), ("timm.models.nowhere", "X"),
    ("torch.ao.nn.quantized.modules.linear", "Linear"),
])  # fmt: skip
def test_what_no_name_may_stand_for(module, name):
    name = allowed.Global(module, name)
    for asked in (allowed.value, allowed.module_class, allowed.hook_class):
        with pytest.raises(allowed.Refused):
            asked(name)
    assert allowed.plain_class(name) is None and allowed.config_class(name) is None


def test_a_sequential_around_a_library_model_is_a_whole_module(tmp_path):
    module = nn.Sequential(models.squeezenet1_1(num_classes=3), nn.Softmax(1)).eval()
    torch.save(module, tmp_path / "chain.pth")
    check(module, tmp_path / "chain.pth", torch.rand(1, 3, 64, 64))
