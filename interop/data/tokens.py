"""Texts -> token arrays, by the tokenizer that lies in the model's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from interop.data.base import Array, Preparation, Prepared, Record
from interop.errors import ConfigError, DataError, ExtraMissing
from interop.facts import TaskName

STRIDE = 128  # tokens that two windows of a long context share, as SQuAD's scorers have it
_KNOWN = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
_BOUNDARY = "\N{LOWER ONE EIGHTH BLOCK}"
_AT_ONCE, _SHOWN = 1000, 40
# transformers writes a huge number where a tokenizer knows no longest input.
_UNBOUNDED = 10**6
_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")


class Tokens(Preparation):
    """What the tokenizer makes of texts: int64 (rows, tokens) by input name, padded on the right
    to the longest of the batch.

    Two texts that are judged together go in as the tokenizer's pair. Longer texts than the model
    takes are cut (of two, the longer first); those of question answering and text generation
    become several rows instead. `about` has, a row each: for question answering "offsets", the
    place of each token in the context, (start, end) in characters, or None; for token
    classification "words", the number of each token's word, or None; and always "tokens", how many
    are no padding. Where the
    model takes no attention mask, one text goes at a time, so that padding cannot change an answer.
    Raises ConfigError, ExtraMissing.
    """

    def __init__(self, folder: Path, task: str, names: Sequence[str]) -> None:
        self.task, self.names, self.folder = task, tuple(names), folder
        self.tokenizer = loaded("AutoTokenizer", folder)
        self.longest = _longest(self.tokenizer, folder)
        if strange := [n for n in names if n not in _KNOWN]:
            what = f"the model takes {strange[0]!r}, which no tokenizer gives"
            fix = "give an .npz file with an array for each input"
            raise ConfigError(what, where=str(folder), fix=fix)
        placed = task in (TaskName.TOKEN_CLASSIFICATION, TaskName.QUESTION_ANSWERING)
        if placed and not self.tokenizer.is_fast:
            what = f"{task} needs a tokenizer that knows where its tokens come from"
            fix = "save the model's fast tokenizer (tokenizer.json)"
            raise ConfigError(what, where=str(folder), fix=fix)
        self.most = None if "attention_mask" in self.names else 1
        self.said = {
            "by": "the tokenizer in the model's folder", "class": type(self.tokenizer).__name__,
            "longest": self.longest, "inputs": list(self.names),
        }  # fmt: skip

    def __call__(self, records: Sequence[Record]) -> Prepared:
        rows: list[Mapping[str, Sequence[int]]] = []
        of: list[int] = []
        about: list[Any] = []
        for place, record in enumerate(records):
            for row, note in self._rows(record):
                rows.append(row)
                of.append(place)
                about.append(note)
        return Prepared(self._padded(rows), tuple(records), tuple(of), tuple(about))

    def _rows(self, record: Record) -> list[tuple[dict[str, list[int]], Any]]:
        """The rows of one record without padding, and what is told about each."""
        encoding = self._encoded(record)
        keys = [k for k in ("input_ids", "token_type_ids") if k in encoding]
        if not all(encoding["input_ids"]):
            raise DataError("has no token in it", where=record.name, fix="take the row out")
        return [
            ({k: list(encoding[k][i]) for k in keys}, self._about(encoding, i))
            for i in range(len(encoding["input_ids"]))
        ]

    def _encoded(self, record: Record) -> Any:
        cut = {"truncation": True, "max_length": self.longest} if self.longest else {}
        if self.task == TaskName.QUESTION_ANSWERING:
            question, context = _as(tuple, record)
            return self._windows(question, context, cut, record)
        if self.task == TaskName.TOKEN_CLASSIFICATION:
            return self.tokenizer([list(_as(tuple, record))], is_split_into_words=True, **cut)
        pairs = self.task in (TaskName.TEXT_CLASSIFICATION, TaskName.REGRESSION)
        if pairs and isinstance(record.raw, tuple):
            text, other = record.raw
            return self.tokenizer([text], [other], **cut)
        text = _as(str, record)
        if self.task == TaskName.TEXT_GENERATION and cut and self.tokenizer.is_fast:
            return self.tokenizer([text], return_overflowing_tokens=True, stride=0, **cut)
        return self.tokenizer([text], **cut)

    def _windows(self, question: str, context: str, cut: Any, record: Record) -> Any:
        if cut:
            asked = len(self.tokenizer(question)["input_ids"])
            # What the question leaves; a window has to move on by at least one token.
            room = (self.longest or 0) - asked - self.tokenizer.num_special_tokens_to_add(pair=True)
            if room < 2:
                what = f"its question of {asked} tokens leaves no room for the context"
                fix = f"shorten it: the model takes {self.longest} tokens"
                raise DataError(what, where=record.name, fix=fix)
            cut = {
                "max_length": self.longest, "truncation": "only_second",
                "stride": min(STRIDE, room // 2), "return_overflowing_tokens": True,
            }  # fmt: skip
        return self.tokenizer([question], [context], return_offsets_mapping=True, **cut)

    def _about(self, encoding: Any, row: int) -> dict[str, Any]:
        about: dict[str, Any] = {"tokens": len(encoding["input_ids"][row])}
        if self.task == TaskName.QUESTION_ANSWERING:
            pairs = zip(encoding.sequence_ids(row), encoding["offset_mapping"][row], strict=True)
            about["offsets"] = [tuple(p) if of == 1 else None for of, p in pairs]
        if self.task == TaskName.TOKEN_CLASSIFICATION:
            about["words"] = list(encoding.word_ids(row))
        return about

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Of each text whether there is more in it than unknown tokens; so of one without any."""
        unknown = self.tokenizer.unk_token_id
        if unknown is None or not texts:
            return [True] * len(texts)
        cut = {"truncation": True, "max_length": self.longest} if self.longest else {}
        sequences = self.tokenizer(list(texts), add_special_tokens=False, **cut)["input_ids"]
        # SentencePiece sets a mark of its own before a word that it does not know.
        nothing = {unknown, *self.tokenizer.all_special_ids}
        nothing.add(self.tokenizer.convert_tokens_to_ids(_BOUNDARY))
        return [unknown not in ids or not nothing.issuperset(ids) for ids in sequences]

    def _padded(self, rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Array]:
        lengths = np.array([len(r["input_ids"]) for r in rows])
        shape = len(rows), int(lengths.max())
        mask = (np.arange(shape[1]) < lengths[:, None]).astype(np.int64)
        inputs: dict[str, Array] = {}
        for name in self.names:
            if name == "attention_mask":
                inputs[name] = mask
            elif name == "position_ids":
                inputs[name] = np.broadcast_to(np.arange(shape[1]), shape).astype(np.int64)
            else:
                fill = (self.tokenizer.pad_token_id or 0) if name == "input_ids" else 0
                inputs[name] = np.full(shape, fill, dtype=np.int64)
                for out, row in zip(inputs[name], rows, strict=True):
                    # A tokenizer that gives no types means one text, which is type 0.
                    values = row.get(name, ())
                    out[: len(values)] = values
        return inputs


def unread(prepare: Preparation, records: Iterable[Record], what: str, where: str) -> str:
    """A line on the texts of which the tokenizer knows nothing, "" where there are none.

    `what` they are ("training texts") and `where` from. Raises DataError where all are such: there
    is nothing in them to be learned or answered.
    """
    if not isinstance(prepare, Tokens):
        return ""
    misses: list[Record] = []
    count, rest = 0, iter(records)
    while some := list(islice(rest, _AT_ONCE)):
        known = prepare.knows([_whole(r) for r in some])
        misses += [r for r, yes in zip(some, known, strict=True) if not yes]
        count += len(some)
    if not misses:
        return ""
    one = f"{misses[0].name}: {_whole(misses[0])[:_SHOWN]!r}"
    if len(misses) == count:
        raise DataError(
            f"the tokenizer knows nothing of its {count} {what} ({one}): all are unknown "
            "tokens alone",
            where=where,
            fix="take a model whose tokenizer knows this language and script, or name another "
            "column with --column text=NAME",
        )
    return (
        f"{len(misses)} of the {count} {what} are unknown tokens alone to the tokenizer, and "
        f"tell the model nothing ({one}): take one whose tokenizer knows them, or another column"
    )


def _whole(record: Record) -> str:
    """All of a record's texts in one."""
    raw = record.raw
    return " ".join(map(str, raw)) if isinstance(raw, tuple) else _as(str, record)


def loaded(kind: str, folder: Path) -> Any:
    """What transformers' Auto class of that name makes of the folder's files: nothing is fetched,
    no code of the folder runs. Raises ConfigError, ExtraMissing."""
    try:
        import transformers
    except ImportError:
        raise ExtraMissing(
            "the model's tokenizer or feature extractor needs transformers, which is not installed",
            fix="pip install 'model-interop[hf]'",
        ) from None
    try:
        return getattr(transformers, kind).from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever the library's many readers object to
        what = (
            f"transformers cannot read what prepares its inputs "
            f"({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})"
        )
        fix = "put the files there that save_pretrained writes"
        raise ConfigError(what, where=str(folder), fix=fix, rule="preprocessing-unknown") from None


def _as(kind: type, record: Record) -> Any:
    if not isinstance(record.raw, kind):
        what = f"is a {type(record.raw).__name__}, and the model takes texts"
        raise DataError(what, where=record.name, fix="give a data set of texts")
    return record.raw


def _longest(tokenizer: Any, folder: Path) -> int | None:
    """How many tokens the model takes, special ones with them: the least of what its files say."""
    limits = [tokenizer.model_max_length]
    try:
        config = json.loads((folder / "config.json").read_bytes())
        limits += [config[k] for k in _LENGTHS if isinstance(config.get(k), int)]
    except (OSError, ValueError, AttributeError):
        pass  # a tokenizer without a config beside it
    return min((int(n) for n in limits if 0 < n < _UNBOUNDED), default=None)
