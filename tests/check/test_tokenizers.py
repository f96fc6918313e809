"""Tokenizers as data: files that the real libraries wrote, changed one thing at a time."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from interop.check import parts
from interop.facts import Answer, Case, Finding, Intent, Manifest, StateDict
from interop.identity import identify
from interop.reading.parts import with_parts
from interop.rules import all_rules

TEXTS = ["the cat sat on the mat", "a dog ran to the cat", "cats and dogs and mats", "on a mat"]
BOTH = {Intent.TRANSFER, Intent.REPLACE}
Json = Any


@cache
def word_piece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=40, special_tokens=special)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


@cache
def bpe() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=60, special_tokens=["<s>"]))
    return made


@cache
def unigram() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=40, unk_token="<unk>", special_tokens=["<unk>"])
    made.train_from_iterator(TEXTS, trainer)
    return made


def manifest(folder: Path) -> Manifest:
    bare = Manifest(str(folder), "", "safetensors", 0, "", (StateDict("", ()),))
    return with_parts(bare, str(folder))


def findings(a: Path, b: Path) -> list[Finding]:
    """What the rule on tokenizers, and the one on missing parts, say of two folders."""
    one, two = manifest(a), manifest(b)
    both = identify(one), identify(two)
    case = Case(a=both[0], b=both[1], parts=parts.compare(one, two))
    rules = (all_rules()[r] for r in ("tokenizer-changed", "part-missing"))
    return [f for r in rules for f in r.check(case)]


def answers(a: Path, b: Path) -> dict[Intent, Answer]:
    found: dict[Intent, Answer] = {}
    for f in findings(a, b):
        for intent in f.breaks:
            found[intent] = Answer.NO if Answer.NO in (f.answer, found.get(intent)) else f.answer
    return found


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    made = tmp_path / "a", tmp_path / "b"
    for folder in made:
        folder.mkdir()
    return made


def write(folder: Path, **files: Json) -> None:
    for stem, value in files.items():
        (folder / f"{stem}.json").write_text(json.dumps(value))


Change = Callable[[dict[str, Any]], object]


def swapped(d: dict[str, Any]) -> None:
    vocabulary = d["model"]["vocab"]
    if isinstance(vocabulary, list):
        vocabulary[5], vocabulary[6] = vocabulary[6], vocabulary[5]
        return
    x, y = list(vocabulary)[8:10]
    vocabulary[x], vocabulary[y] = vocabulary[y], vocabulary[x]


@pytest.mark.parametrize("make", [word_piece, bpe, unigram])
@pytest.mark.parametrize(
    ("change", "breaks", "said"),
    [
        (swapped, BOTH, "vocabulary"),
        (lambda d: d.update(normalizer={"type": "NFD"}), BOTH, "normalizer"),
        (lambda d: d.update(pre_tokenizer={"type": "Whitespace"}), BOTH, "pre_tokenizer"),
        (lambda d: d.update(post_processor=None), {Intent.REPLACE}, "post_processor"),
        (lambda d: d.update(truncation={"max_length": 9}), {Intent.REPLACE}, "truncation"),
        (lambda d: d.update(padding={"direction": "Left"}), {Intent.REPLACE}, "padding"),
        (lambda d: d["added_tokens"][0].update(lstrip=True), BOTH, "added_tokens"),
        (lambda d: d["model"].update(unk_token="x", unk_id=3), BOTH, "model.unk"),
    ],
)
def test_each_thing_that_a_tokenizer_does(
    make: Callable[[], Tokenizer], change: Change, breaks: set[Intent], said: str,
    sides: tuple[Path, Path],
) -> None:  # fmt: skip
    a, b = sides
    stated = json.loads(make().to_str())
    write(a, tokenizer=stated)
    changed = json.loads(make().to_str())
    change(changed)
    write(b, tokenizer=changed)
    if changed == stated:  # it had none before either
        assert not findings(a, b)
        return
    found = answers(a, b)
    assert set(found) == breaks
    assert any(said in f.what for f in findings(a, b))
    # What one side alone states has a default of its own that is in no file.
    one_sided = {k for k, v in stated.items() if v} ^ {k for k, v in changed.items() if v}
    assert Answer.NO in found.values() or one_sided or said == "model.unk"


@pytest.mark.parametrize("make", [word_piece, bpe, unigram])
def test_the_same_content_in_other_bytes_is_the_same(
    make: Callable[[], Tokenizer], sides: tuple[Path, Path]
) -> None:
    a, b = sides
    stated = json.loads(make().to_str(pretty=True))
    (a / "tokenizer.json").write_text(make().to_str(pretty=True))
    model = stated["model"]
    if "merges" in model:  # as the library wrote them before version 0.20
        model["merges"] = [" ".join(m) for m in model["merges"]]
    if isinstance(model["vocab"], dict):
        model["vocab"] = dict(reversed(model["vocab"].items()))
    (b / "tokenizer.json").write_text(json.dumps(dict(reversed(stated.items()))))
    assert (a / "tokenizer.json").read_bytes() != (b / "tokenizer.json").read_bytes()
    assert findings(a, b) == []


def test_merges_and_scores_are_part_of_it(sides: tuple[Path, Path]) -> None:
    a, b = sides
    stated = json.loads(bpe().to_str())
    write(a, tokenizer=stated)
    merges = stated["model"]["merges"]
    merges[0], merges[1] = merges[1], merges[0]
    write(b, tokenizer=stated)
    assert answers(a, b) == dict.fromkeys(BOTH, Answer.NO)
    assert "merges" in findings(a, b)[0].what
    stated = json.loads(unigram().to_str())
    write(a, tokenizer=stated)
    stated["model"]["vocab"][7][1] -= 1
    write(b, tokenizer=stated)
    assert "scores" in findings(a, b)[0].what


def test_new_tokens_leave_the_others_where_they_were(sides: tuple[Path, Path]) -> None:
    a, b = sides
    stated = json.loads(word_piece().to_str())
    write(a, tokenizer=stated)
    stated["model"]["vocab"]["zebra"] = len(stated["model"]["vocab"])
    write(b, tokenizer=stated)
    assert answers(a, b) == {Intent.REPLACE: Answer.NO}
    assert answers(b, a)[Intent.TRANSFER] is Answer.NO  # a token of A is no token of B


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"do_lower_case": False}, dict.fromkeys(BOTH, Answer.NO)),
        ({"model_max_length": 128}, {Intent.REPLACE: Answer.NO}),
        ({"padding_side": "left"}, {Intent.REPLACE: Answer.NO}),
        ({"pad_token": "[UNK]"}, {Intent.REPLACE: Answer.NO}),
        ({"chat_template": "{{ x }}"}, {Intent.REPLACE: Answer.NO}),
        ({"some_setting": 3}, dict.fromkeys(BOTH, Answer.UNKNOWN)),
        ({"tokenizer_class": "RobertaTokenizer"}, dict.fromkeys(BOTH, Answer.UNKNOWN)),
        ({"tokenizer_class": "BertTokenizer"}, {}),
        ({"name_or_path": "/home/x", "pad_token": {"content": "[PAD]", "lstrip": False}}, {}),
    ],
)
def test_settings_beside_it(
    change: dict[str, Json], expected: dict[Intent, Answer], sides: tuple[Path, Path]
) -> None:
    a, b = sides
    settings = {"do_lower_case": True, "model_max_length": 512, "padding_side": "right",
                "pad_token": "[PAD]", "tokenizer_class": "BertTokenizerFast"}  # fmt: skip
    tokenizer = json.loads(word_piece().to_str())
    write(a, tokenizer=tokenizer, tokenizer_config=settings)
    write(b, tokenizer=tokenizer, tokenizer_config={**settings, **change})
    assert answers(a, b) == expected


def test_a_template_may_move_from_the_settings_to_a_file(sides: tuple[Path, Path]) -> None:
    a, b = sides
    tokenizer = json.loads(word_piece().to_str())
    write(a, tokenizer=tokenizer, tokenizer_config={"chat_template": "{{ x }}"})
    write(b, tokenizer=tokenizer, tokenizer_config={})
    (b / "chat_template.jinja").write_text("{{ x }}\n")
    assert findings(a, b) == []
    (b / "chat_template.jinja").write_text("{{ y }}\n")
    assert answers(a, b) == {Intent.REPLACE: Answer.NO}


def test_files_of_older_releases_say_the_same(sides: tuple[Path, Path]) -> None:
    a, b = sides
    tokenizer = json.loads(word_piece().to_str())
    for folder in sides:
        write(folder, tokenizer=tokenizer, tokenizer_config={"pad_token": "[PAD]"})
    words = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    (a / "vocab.txt").write_text("\n".join(words) + "\n")
    write(a, special_tokens_map={"pad_token": "[PAD]"}, added_tokens={"[PAD]": 0})
    assert findings(a, b) == findings(b, a) == []
    (a / "vocab.txt").write_text("\n".join(words[::-1]) + "\n")
    assert Answer.UNKNOWN in answers(a, b).values()


def test_added_tokens_may_be_written_twice(sides: tuple[Path, Path]) -> None:
    a, b = sides
    tokenizer = json.loads(word_piece().to_str())
    table = {str(t["id"]): {k: v for k, v in t.items() if k != "id"}
             for t in tokenizer["added_tokens"]}  # fmt: skip
    write(a, tokenizer=tokenizer, tokenizer_config={"added_tokens_decoder": table})
    write(b, tokenizer=tokenizer, tokenizer_config={})
    assert findings(a, b) == findings(b, a) == []
    table["2"] = {**table["2"], "normalized": True}
    write(a, tokenizer_config={"added_tokens_decoder": table})
    assert answers(a, b) == {Intent.REPLACE: Answer.UNKNOWN}


def test_old_files_alone_are_compared(sides: tuple[Path, Path]) -> None:
    a, b = sides
    for folder in sides:
        (folder / "vocab.txt").write_text("[PAD]\n[UNK]\ncat\ndog\n")
        (folder / "merges.txt").write_text("#version: 0.2\na b\nc d\n")
    assert findings(a, b) == []
    (b / "merges.txt").write_bytes(b"#version: 0.1\r\na b\r\nc d")
    assert findings(a, b) == []
    (b / "merges.txt").write_text("c d\na b\n")
    assert "merges" in findings(a, b)[0].what
    (b / "vocab.txt").write_text("[PAD]\n[UNK]\ndog\ncat\n")
    assert answers(a, b) == dict.fromkeys(BOTH, Answer.NO)


def field(number: int, value: bytes | float) -> bytes:
    if isinstance(value, float):
        return bytes((number << 3 | 5,)) + struct.pack("<f", value)
    return bytes((number << 3 | 2, len(value))) + value


def pieces(*given: tuple[str, float], normalizer: bytes = b"", trainer: bytes = b"") -> bytes:
    """A SentencePiece ModelProto."""
    made = b"".join(field(1, field(1, p.encode()) + field(2, s)) for p, s in given)
    return made + field(2, trainer) + field(3, normalizer)


@pytest.mark.parametrize(
    ("changed", "answer", "said"),
    [
        (pieces(("b", -2.0), ("a", -1.0)), Answer.NO, "vocabulary"),
        (pieces(("a", -1.0), ("b", -3.0)), Answer.NO, "scores"),
        (pieces(("a", -1.0), ("b", -2.0), normalizer=b"nfkc"), Answer.NO, "normalizer"),
        (pieces(("a", -1.0), ("b", -2.0), trainer=b"x"), Answer.UNKNOWN, "other bytes"),
        (b"\xff", Answer.UNKNOWN, "not understood"),
    ],
)
@pytest.mark.parametrize("name", ["spiece.model", "source.spm"])
def test_sentence_pieces(
    name: str, changed: bytes, answer: Answer, said: str, sides: tuple[Path, Path]
) -> None:
    a, b = sides
    (a / name).write_bytes(pieces(("a", -1.0), ("b", -2.0)))
    (b / name).write_bytes(changed)
    assert set(answers(a, b).values()) == {answer}
    assert said in findings(a, b)[0].what


def test_bytes_of_another_kind_of_tokenizer_are_unknown(sides: tuple[Path, Path]) -> None:
    a, b = sides
    (a / "qwen.tiktoken").write_bytes(b"IQ== 0\n")
    (b / "qwen.tiktoken").write_bytes(b"IQ== 1\n")
    assert answers(a, b) == dict.fromkeys(BOTH, Answer.UNKNOWN)


def test_another_file_of_the_tokenizer_is_unknown(sides: tuple[Path, Path]) -> None:
    a, b = sides
    write(a, tokenizer=json.loads(bpe().to_str()))
    write(b, vocab={"a": 0})
    found = answers(a, b)
    assert found[Intent.REPLACE] in (Answer.NO, Answer.UNKNOWN)
