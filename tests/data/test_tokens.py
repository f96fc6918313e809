"""Texts become the tokenizer's tokens, and what reads the outputs knows where they came from."""

import json
import shutil

import numpy as np
import pytest

from fixtures.text import TEXT
from interop.data.base import Record
from interop.data.tokens import Tokens, unread
from interop.errors import ConfigError, DataError, ExtraMissing

FOLDER = TEXT / "model"
ALL = ["input_ids", "attention_mask", "token_type_ids"]


def a_record(raw):
    return Record("row 1", "", raw, None)


def test_only_what_the_model_takes_is_given_padded_to_the_longest():
    prepare = Tokens(FOLDER, "text-classification", ["attention_mask", "input_ids"])
    made = prepare([a_record("Bitte"), a_record("Bitte geben Sie einen Wert ein.")])
    assert list(made.inputs) == ["attention_mask", "input_ids"]
    ids, mask = made.inputs["input_ids"], made.inputs["attention_mask"]
    assert ids.dtype == mask.dtype == np.int64
    assert mask[1].all() and not mask[0].all()
    assert not ids[0][mask[0] == 0].any()
    expected = prepare.tokenizer(["Bitte", "Bitte geben Sie einen Wert ein."], padding=True)
    assert ids.tolist() == expected["input_ids"]
    assert mask.tolist() == expected["attention_mask"]


def test_a_long_text_is_cut_where_the_model_ends():
    made = Tokens(FOLDER, "text-classification", ALL)([a_record("wort " * 500)])
    assert made.inputs["input_ids"].shape == (1, 64)
    assert made.rows == (0,)


def test_the_config_tells_the_longest_where_the_tokenizer_does_not(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "m")
    path = tmp_path / "m" / "tokenizer_config.json"
    given = json.loads(path.read_text())
    del given["model_max_length"]
    path.write_text(json.dumps(given))
    assert Tokens(tmp_path / "m", "text-classification", ALL).longest == 64
    (tmp_path / "m" / "config.json").unlink()
    # Where nothing knows a longest input, nothing is cut.
    prepare = Tokens(tmp_path / "m", "text-classification", ALL)
    assert prepare([a_record("wort " * 500)]).inputs["input_ids"].shape[1] > 64


def test_a_long_context_becomes_windows_that_miss_no_character():
    context = " ".join(f"Wert {i}." for i in range(80))
    prepare = Tokens(FOLDER, "question-answering", ALL)
    made = prepare([a_record(("Welcher?", context)), a_record(("Welcher?", "Wert."))])
    assert made.rows[-1] == 1 and made.rows.count(0) > 3
    assert made.inputs["input_ids"].shape == (len(made.rows), 64)
    seen = np.zeros(len(context), dtype=int)
    for row, about in zip(made.rows, made.about, strict=True):
        kinds = made.inputs["token_type_ids"][made.rows.index(row)]
        assert about["offsets"][0] is None and kinds[0] == 0
        if row == 0:
            for place in filter(None, about["offsets"]):
                seen[slice(*place)] += 1
    assert all(seen[i] for i, c in enumerate(context) if not c.isspace())
    assert seen.max() > 1  # the windows overlap
    with pytest.raises(DataError, match="leaves no room"):
        prepare([a_record(("Wert " * 70, context))])


def test_tokens_know_their_word():
    made = Tokens(FOLDER, "token-classification", ALL)([a_record(("Geben", "Sie", "ein"))])
    words = made.about[0]["words"]
    assert words[0] is None and words[-1] is None
    assert sorted(set(words[1:-1])) == [0, 1, 2]
    assert len(words) == made.inputs["input_ids"].shape[1]


def test_a_text_to_go_on_with_is_taken_piece_by_piece():
    prepare = Tokens(FOLDER, "text-generation", ["input_ids", "attention_mask", "position_ids"])
    made = prepare([a_record("wort " * 100), a_record("ein")])
    assert made.rows.count(0) > 1 and made.rows[-1] == 1
    assert made.inputs["attention_mask"].sum(1).tolist() == [a["tokens"] for a in made.about]
    assert made.inputs["position_ids"][0].tolist() == list(range(64))


def test_without_a_mask_one_text_goes_at_a_time():
    assert Tokens(FOLDER, "text-classification", ["input_ids"]).most == 1
    assert Tokens(FOLDER, "text-classification", ALL).most is None


def test_what_cannot_be_had_is_said(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="takes 'pixels', which no tokenizer gives"):
        Tokens(FOLDER, "text-classification", ["input_ids", "pixels"])
    with pytest.raises(DataError, match="is a tuple, and the model takes texts"):
        Tokens(FOLDER, "text-generation", ALL)([a_record(("a", "b"))])
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigError, match="transformers cannot read"):
        Tokens(tmp_path, "text-classification", ALL)
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ExtraMissing, match=r"model-interop\[hf\]"):
        Tokens(FOLDER, "text-classification", ALL)


def test_texts_of_unknown_tokens_alone_are_told():
    prepare = Tokens(FOLDER, "text-classification", ALL)
    assert prepare.tokenizer("\u65e5")["input_ids"][1] == prepare.tokenizer.unk_token_id
    raw = [
        "Bitte",
        "\u65e5\u672c",
        ("\u65e5", "\u672c"),
        ("\u65e5", "Bitte"),
        "Bitte \u65e5",
        "[SEP] \u65e5",
    ]
    records = [Record(f"row {i + 1}", "", one, None) for i, one in enumerate(raw)]
    said = unread(prepare, iter(records), "texts", "D")
    assert said.startswith("3 of the 6 texts are unknown tokens alone")
    assert "(row 2: '\u65e5\u672c')" in said
    assert unread(prepare, [records[0], records[3], records[4]], "texts", "D") == ""
    with pytest.raises(DataError, match=r"knows nothing of its 2 texts \(row 2: .*") as error:
        unread(prepare, [records[1], records[5]], "texts", "D")
    assert error.value.where == "D" and "--column text=NAME" in (error.value.fix or "")
    # A tokenizer without an unknown token knows all, and one without tokens is another matter.
    assert unread(prepare, [a_record("")], "texts", "D") == ""
    prepare.tokenizer.unk_token = None
    assert unread(prepare, [records[1]], "texts", "D") == ""


def test_a_word_mark_before_an_unknown_word_is_nothing_known(tmp_path):
    """As SentencePiece's tokenizers have it: a mark of its own, then the unknown token."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = [("<unk>", -9.0), ("\u2581", -1.0), ("\u2581wort", -1.0)]
    made = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")
    fast.save_pretrained(tmp_path)
    prepare = Tokens(tmp_path, "text-classification", ["input_ids", "attention_mask"])
    assert prepare.tokenizer("\u65e5")["input_ids"] == [1, 0]
    assert prepare.knows(["\u65e5", "wort", "wort \u65e5"]) == [False, True, True]
