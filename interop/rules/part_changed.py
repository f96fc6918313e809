"""A part of the deployed model other than its weights, tokenizer and config is another one.

What
    Pooling or dense modules, the generation config, the processor, remote code, labels or another
    file of the folder differ between A and B. A file whose effect is not known, or that could not
    be compared, is reported as unknown.

Why
    A folder is deployed as a whole. The same transformer under another pooling gives other
    embeddings, another generation config another text, and weights of a dense module that come from
    another run turn every vector; the transformer's own weights show none of it.

Example
    1_Pooling/config.json: pooling_mode_mean_tokens True -> False, pooling_mode_cls_token False ->
    True

Fix
    Restore A's file, or deploy B as a new model. For a file reported as unknown: check what reads
    it, then waive it, or remove a file that nothing reads.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Intent, Level, PartChange, PartKind, Rule, Side
from interop.patterns import lazy
from interop.rules import finding
from interop.rules._shared import changed_to

RULE = Rule("part-changed", Level.ERROR, (Intent.REPLACE,), needs=("pair", "parts"))

_ELSEWHERE = (PartKind.CONFIG, PartKind.TOKENIZER, PartKind.CHAT_TEMPLATE)
_HARMLESS = lazy(
    r"transformers_version|_from_model_config|_commit_hash|_name_or_path|name_or_path|use_cache"
    r"|processor_class|__version__(\..+)?|_processor_class|_valid_processor_keys|dtype|torch_dtype"
    r"|\d+\.(idx|name)"
)
# Of kinds whose every other field is known to be read.
_SURE = (PartKind.GENERATION, PartKind.MODULE)
_WEIGHTS_ALONE = (
    "the weights differ while the model's own are the same, by a training of this module or a "
    "mix-up of files"
)
# Fields of a processor that are part of the description of the inputs.
_READ = frozenset({
    "do_resize", "size", "resample", "do_center_crop", "crop_size", "crop_pct", "do_rescale",
    "rescale_factor", "do_normalize", "image_mean", "image_std", "do_flip_channel_order",
    "sampling_rate",
})  # fmt: skip
_PROCESSOR_TYPE = lazy(r"(image_processor|feature_extractor|video_processor)_type")


def check(case: Case) -> Iterator[Finding]:
    if case.parts is None or case.a is None or case.b is None:
        return
    judged: dict[tuple[str, Answer], list[PartChange]] = {}
    for change in case.parts.changes:
        configs = change.kind is PartKind.ADAPTER and change.path.endswith(".json")
        alone = not change.field and change.side is not Side.BOTH
        if change.kind in _ELSEWHERE or configs or alone or _told(change, case):
            continue
        if (answer := _judged(change, case)) is not Answer.YES:
            judged.setdefault((change.path, answer), []).append(change)
    for (path, answer), changes in judged.items():
        facts = {"fields": {c.field: [c.a, c.b] for c in changes}, "kind": str(changes[0].kind)}
        yield finding(RULE, f"{path}: {_words(changes)}", place=path, facts=facts, answer=answer)


def _words(changes: list[PartChange]) -> str:
    return _WEIGHTS_ALONE if changes[0].field == "values" else changed_to(changes)


def _told(change: PartChange, case: Case) -> bool:
    """Whether preprocessing-changed compares the field, as both sides' files state it."""
    assert case.a is not None and case.b is not None
    if change.kind is not PartKind.PROCESSOR:
        return False
    return all(
        how is not None
        and how.source == change.path
        and not _READ.isdisjoint(change.field.split("."))
        for how in (case.a.preprocessing, case.b.preprocessing)
    )


def _judged(change: PartChange, case: Case) -> Answer:
    last = change.field.rpartition(".")[2]
    if change.field and (_HARMLESS.fullmatch(change.field) or _HARMLESS.fullmatch(last)):
        return Answer.YES
    if change.field == "values":  # trained along with the model, or alone
        return Answer.YES if change.why else Answer.UNKNOWN
    if change.field.startswith("tensors."):
        return Answer.NO
    if _PROCESSOR_TYPE.fullmatch(change.field.rpartition(".")[2]):
        names = (str(v or "").removesuffix("Fast") for v in (change.a, change.b))
        return Answer.YES if len(set(names)) == 1 else Answer.UNKNOWN
    if change.kind in _SURE and change.field and change.side is Side.BOTH:
        return Answer.NO
    if change.kind is PartKind.PROCESSOR and change.field and change.side is Side.BOTH:
        # A number and an object may say the same, to the class that reads them.
        return Answer.NO if type(change.a) is type(change.b) else Answer.UNKNOWN
    return Answer.UNKNOWN
