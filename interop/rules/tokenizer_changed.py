"""The tokenizer beside B is not the one beside A.

What
    The files of the two tokenizers, read as data, differ in vocabulary, merges, normaliser,
    pre-tokenizer, special tokens, truncation, padding, template or settings. Files that differ and
    cannot be shown to give the same tokens are reported as unknown.

Why
    A model sees numbers alone. With another vocabulary the same text becomes the numbers of other
    words: nothing fails, and every answer is to a text that nobody sent. That breaks `transfer` as
    well, because the rows of the embedding that training starts from belong to other tokens. A
    change that keeps every token's number (truncation, padding, new tokens, a chat template) breaks
    `replace` alone.

Example
    tokenizer.json: vocabulary 52 tokens, 'w0' is 2 -> 52 tokens, 'w0' is 51

Fix
    Put A's tokenizer files beside B, or train B with the tokenizer that it is deployed with and
    change the callers with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Intent, Level, PartChange, PartKind, Rule, Side
from interop.patterns import lazy
from interop.rules import finding
from interop.rules._shared import changed_to

RULE = Rule(
    "tokenizer-changed", Level.ERROR, (Intent.TRANSFER, Intent.REPLACE), needs=("pair", "parts")
)

# What decides which number a piece of text becomes.
_IDS = lazy(
    r"vocabulary|merges|scores|model(\..+)?|normalizer|pre_tokenizer|do_lower_?case|strip_accents"
    r"|tokenize_chinese_chars|add_prefix_space|do_basic_tokenize|never_split|keep_accents|sp_model\w*"
    r"|byte_fallback|legacy|added tokens|added_tokens|remove_space|unk_token"
)
# What changes the input that the model gets, with every token's number as it was.
_INPUTS = lazy(
    r"new tokens|post_processor|decoder|truncation|padding|chat template|(model_)?max_length"
    r"|(padding|truncation)_side|stride|pad_to_multiple_of|pad_token\w*|add_\w+_token"
    r"|(bos|eos|sep|cls|mask)_token|additional_special_tokens\S*|extra_special_tokens\S*"
    r"|clean_up_tokenization_spaces|split_special_tokens|added_tokens_decoder\S*|language\w*|task"
    r"|src_lang|tgt_lang|prefix|(image|audio|video|boi|eoi)_token|\w+_token|word_delimiter_token"
    r"|replace_word_delimiter_char|model_input_names"
)
_HARMLESS = lazy(
    r"name_or_path|_commit_hash|transformers_version|tokenizer_file|vocab_file|merges_file"
    r"|special_tokens_map_file|processor_class|backend|is_local|local_files_only|version"
)
# Classes that read nothing but tokenizer.json.
_GENERIC = ("TokenizersBackend", "PreTrainedTokenizer")


def check(case: Case) -> Iterator[Finding]:
    if case.parts is None:
        return
    kinds = (PartKind.TOKENIZER, PartKind.CHAT_TEMPLATE)
    # A file that one side alone has is the affair of part-missing.
    both = [c for c in case.parts.changes if c.kind in kinds and (c.field or c.side is Side.BOTH)]
    judged: dict[tuple[str, Answer, tuple[Intent, ...]], list[PartChange]] = {}
    for change in both:
        answer, breaks = _judged(change)
        if breaks:
            judged.setdefault((change.path, answer, breaks), []).append(change)
    for (path, answer, breaks), changes in judged.items():
        yield finding(
            RULE,
            f"{path}: {changed_to(changes)}",
            place=path,
            facts={"fields": {c.field: [c.a, c.b] for c in changes}},
            breaks=breaks,
            answer=answer,
        )


def _judged(change: PartChange) -> tuple[Answer, tuple[Intent, ...]]:
    name = change.field
    if _HARMLESS.fullmatch(name):
        return Answer.YES, ()
    if name == "tokenizer_class":
        same = _class(change.a) == _class(change.b)
        return (Answer.YES, ()) if same else (Answer.UNKNOWN, RULE.breaks)
    if _IDS.fullmatch(name):
        return _sure(change), RULE.breaks
    if _INPUTS.fullmatch(name):
        return _sure(change), (Intent.REPLACE,)
    return Answer.UNKNOWN, RULE.breaks


def _sure(change: PartChange) -> Answer:
    """An absent setting has a default that no file states."""
    stated = change.side is Side.BOTH or change.kind is PartKind.CHAT_TEMPLATE
    return Answer.NO if stated else Answer.UNKNOWN


def _class(name: object) -> str:
    class_name = str(name or "").removesuffix("Fast")
    return "" if class_name in _GENERIC else class_name
