"""What can be asked for beside a bundle, through the command: precision, preprocessing, one file,
shards, the way back, an explanation; and an adapter with its base."""

import json
import re

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click import Argument, Command
from click.testing import CliRunner
from safetensors.torch import load_file

from fixtures.make import DIGITS, LABELS
from interop.cli import main
from interop.data.arrays import Inputs
from interop.errors import ConfigError, DataError
from interop.export.options import parse_size
from interop.facts import Answer
from interop.verify.bundle import verify
from tests.export.conftest import ODD
from tests.helpers.processor import exact_int8

DATA = ["--data", str(DIGITS / "heldout")]


def export(*arguments):
    """The command as a person runs it, in this process: its result, and its report."""
    done = CliRunner().invoke(
        Command("interop", callback=main, params=[Argument(["arguments"], nargs=-1)],
                context_settings={"ignore_unknown_options": True}),
        ["export", *map(str, arguments), "--format", "json"],
    )  # fmt: skip
    report = json.loads(done.stdout) if done.stdout.startswith("{") else None
    return done, report


def measured(report, name):
    return next(m for m in report["measurements"] if m["name"] == name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One export with everything beside it."""
    folder = tmp_path_factory.mktemp("extras") / "out"
    done, report = export(
        DIGITS / "squeezenet.pth", "-o", folder, *DATA, "--precision", "int8-static",
        "--with-labels", "--embed",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return folder, report


def test_everything_lies_in_one_folder_and_is_proved(whole):
    folder, report = whole
    assert {"model_int8_static.onnx", "model_prepared.onnx"} <= {p.name for p in folder.iterdir()}
    assert [p["name"] for p in report["proofs"]][-1] == "preprocessing in the graph"
    receipt = json.loads((folder / "interop.json").read_text())
    assert receipt["precision"]["int8-static"]["on"] == "heldout"
    assert verify(folder).outcome is Answer.YES


@exact_int8
def test_int8_is_measured_on_other_samples_than_it_was_calibrated_on(whole):
    _, report = whole
    flips = measured(report, "flips")
    assert 200 <= flips["conditions"]["samples"] < 320
    assert flips["value"] <= 5
    change = measured(report, "accuracy change")
    assert change["interval"][0] <= change["value"] <= change["interval"][1]


def test_a_picture_as_it_was_decoded_gets_its_label(whole):
    from PIL import Image

    folder, _ = whole
    session = onnxruntime.InferenceSession(folder / "model_prepared.onnx")
    names = [o.name for o in session.get_outputs()]
    right = 0
    for label in LABELS:
        path = sorted((DIGITS / "heldout" / label).iterdir())[0]
        image = np.asarray(Image.open(path).convert("RGB"))
        found = dict(zip(names, session.run(None, {"image": image}), strict=True))
        assert found["probabilities"].sum() == pytest.approx(1, abs=1e-5)
        right += found["label"][0] == label
    assert right >= 9


def test_the_embedded_graph_needs_no_other_file(whole, tmp_path):
    folder, _ = whole
    (tmp_path / "alone.onnx").write_bytes((folder / "model.onnx").read_bytes())
    session = onnxruntime.InferenceSession(tmp_path / "alone.onnx")
    assert session.run(None, {"input": np.zeros((1, 3, 64, 64), np.float32)})[0].shape == (1, 10)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--precision", "int8-static"], "real samples"),
        (["--with-preprocess"], "folder of pictures"),
        (["--shard", "much"], "is no size"),
        (["--input", "tokens=words(3)"], "describes no input|is no type"),
        (["--data", "nothing.npz"], "cannot be read as an .npz"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_nothing_written(tmp_path, arguments, said):
    done, _ = export(DIGITS / "shufflenet.pth", "-o", tmp_path / "out", *arguments)
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert re.search(said, done.stderr)
    assert not list(tmp_path.iterdir())


def test_shards_and_the_way_back(tmp_path):
    done, _ = export(DIGITS / "squeezenet.pth", "-o", tmp_path / "out", "--shard", "1MB")
    assert done.exit_code == 0, done.output
    shards = sorted((tmp_path / "out").glob("model-*.safetensors"))
    assert len(shards) > 1
    assert verify(tmp_path / "out").outcome is Answer.YES
    back = tmp_path / "back.safetensors"
    done, _ = export(tmp_path / "out" / "model.onnx", "--to", "safetensors", "-o", back)
    assert done.exit_code == 0, done.output
    source = torch.load(DIGITS / "squeezenet.pth", weights_only=True)
    source = source.get("state_dict", source)
    found = load_file(back)
    assert found.keys() == source.keys()
    assert all(torch.equal(found[n], source[n]) for n in source)


def test_sizes_in_words():
    assert [parse_size(t) for t in ("5GB", "500 MB", "1.5K", "7")] == [
        5 * 10**9,
        5 * 10**8,
        1500,
        7,
    ]
    with pytest.raises(ConfigError):
        parse_size("-1GB")


TOKENS = '''
import torch
from torch import nn

class Tokens(nn.Module):
    """Counts on tokens and on a mask."""
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(50, 8), nn.Linear(8, 3)

    def forward(self, tokens, mask):
        y = self.embed(tokens) * mask[..., None]
        return self.head(y.sum(1))

class Doubles(Tokens):
    """Traced with its first batch alone in mind."""
    def forward(self, tokens, mask):
        y = super().forward(tokens, mask)
        if torch.onnx.is_in_onnx_export():
            return y * 1.001
        return y
'''


@pytest.fixture
def tokens(tmp_path):
    (tmp_path / "tokens.py").write_text(TOKENS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = __import__("interop.models", fromlist=["x"]).call_by_path(
            f"{tmp_path}/tokens.py:Tokens"
        )
    torch.save(module.state_dict(), tmp_path / "tokens.pth")
    return tmp_path


SPEC = ["--input", "tokens=int64<50(batch,sequence:12)", "--input", "mask=float32(batch,sequence)"]


def test_a_module_of_ones_own_with_several_inputs(tokens):
    arguments = [tokens / "tokens.pth", "--model", f"{tokens}/tokens.py:Tokens", *SPEC]
    done, report = export(*arguments, "-o", tokens / "out")
    assert done.exit_code == 0, done.output
    assert [i["shape"] for i in report["details"]["inputs"]] == [["batch", "sequence"]] * 2
    facts = next(p for p in report["proofs"] if p["name"] == "parity")["facts"]
    assert list(facts["batches"]) == ["1", "2", "3"]
    assert {t["sizes"]["sequence"] for t in facts["trials"]} >= {1, 12, 13, 18}


def test_real_samples_of_several_inputs_come_as_an_npz(tokens):
    random = np.random.default_rng(0)
    given = {"tokens": random.integers(0, 50, (20, 9)), "mask": np.ones((20, 9), np.float32)}
    np.savez(tokens / "real.npz", **given, labels=np.arange(20) % 3)
    arguments = [tokens / "tokens.pth", "--model", f"{tokens}/tokens.py:Tokens", *SPEC]
    done, report = export(
        *arguments, "-o", tokens / "out", "--data", tokens / "real.npz", "--precision", "int8"
    )
    assert done.exit_code == 0, done.output
    assert measured(report, "flips")["conditions"]["samples"] == 20
    assert measured(report, "accuracy change")["unit"] == "points"
    np.savez(tokens / "wrong.npz", words=given["tokens"])
    done, _ = export(*arguments, "-o", tokens / "out2", "--data", tokens / "wrong.npz")
    assert done.exit_code == 2
    assert "holds words, where the model takes tokens, mask" in done.stderr


def test_arrays_of_other_lengths_are_refused(tmp_path):
    np.savez(tmp_path / "odd.npz", a=np.zeros(3), b=np.zeros(4))
    with pytest.raises(DataError, match="rows"):
        Inputs(tmp_path / "odd.npz")


def test_where_parity_fails_the_node_is_named_and_the_case_kept(tokens):
    arguments = [tokens / "tokens.pth", "--model", f"{tokens}/tokens.py:Doubles", *SPEC]
    done, report = export(*arguments, "-o", tokens / "out", "--explain")
    assert done.exit_code == 1
    found = report["details"]["departure"]
    assert found["node"]
    assert {"reproduce.py", "inputs.npz", "model.onnx"} <= set(found["files"])
    assert (tokens / "out-departure" / "reproduce.py").is_file()
    assert not (tokens / "out").exists()


def test_a_whole_pickle_is_run_only_when_trusted(tmp_path, monkeypatch):
    (tmp_path / "whole_odd.py").write_text(ODD)
    monkeypatch.syspath_prepend(tmp_path)
    torch.save(__import__("whole_odd").Plain(), tmp_path / "whole.pth")
    done, _ = export(tmp_path / "whole.pth", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "whole pickled module" in done.stderr
    done, _ = export(tmp_path / "whole.pth", "-o", tmp_path / "out", "--trust-pickle")
    assert done.exit_code == 0, done.output
    assert "runs: whole_odd.Plain" in done.stderr


def test_an_adapter_is_merged_onto_its_base(tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 20}
    config = BertConfig(**sizes, num_attention_heads=2, max_position_embeddings=40, num_labels=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = BertForSequenceClassification(config).eval()
        base.save_pretrained(tmp_path / "base")
        base = BertForSequenceClassification.from_pretrained(tmp_path / "base")
        adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["query", "value"]))
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight)
    adapted.save_pretrained(tmp_path / "adapter")
    done, _ = export(tmp_path / "adapter", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "--base" in done.stderr
    done, _ = export(tmp_path / "adapter", "--base", tmp_path / "base", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "says that it is for" not in done.stdout
    (tmp_path / "base").rename(tmp_path / "another")
    done, report = export(
        tmp_path / "adapter", "--base", tmp_path / "another", "-o", tmp_path / "doubtful"
    )
    assert any("says that it is for" in note for note in report["details"]["notes"])
    (tmp_path / "another").rename(tmp_path / "base")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    ids = torch.arange(12).reshape(1, 12)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids),
             "token_type_ids": torch.zeros_like(ids)}  # fmt: skip
    wanted = {i.name for i in session.get_inputs()}
    (ours,) = session.run(None, {n: t.numpy() for n, t in given.items() if n in wanted})
    with torch.inference_mode():
        native = adapted.eval()(**given).logits.numpy()
        plain = BertForSequenceClassification.from_pretrained(tmp_path / "base")(**given).logits
    np.testing.assert_allclose(ours, native, atol=1e-5)
    assert np.abs(plain.numpy() - native).max() > 1e-4
    merged = BertForSequenceClassification.from_pretrained(tmp_path / "out")
    with torch.inference_mode():
        np.testing.assert_allclose(merged(**given).logits.numpy(), native, atol=1e-5)


def test_back_from_the_graph_of_a_transformers_bundle(tmp_path):
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 20}
    config = BertConfig(**sizes, num_attention_heads=2, max_position_embeddings=40, num_labels=3)
    module = BertForSequenceClassification(config)
    module.save_pretrained(tmp_path / "model")
    done, _ = export(tmp_path / "model", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    back = tmp_path / "back.safetensors"
    done, _ = export(tmp_path / "out" / "model.onnx", "--to", "safetensors", "-o", back)
    assert done.exit_code == 0, done.output
    found, source = load_file(back), module.state_dict()
    assert all(torch.equal(found[n], source[n]) for n in source)


def test_the_graph_of_an_own_module_has_its_names(tokens):
    arguments = [tokens / "tokens.pth", "--model", f"{tokens}/tokens.py:Tokens", *SPEC]
    export(*arguments, "-o", tokens / "out")
    graph = onnx.load(tokens / "out" / "model.onnx", load_external_data=False).graph
    assert [i.name for i in graph.input] == ["tokens", "mask"]
    assert {"embed.weight", "head.weight", "head.bias"} <= {t.name for t in graph.initializer}
