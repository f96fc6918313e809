"""A folder's tokenizer -> how the model's texts are prepared, and whether it names the outputs.

Only the small files of settings are read here; the tokenizer itself is known by its hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interop.errors import ConfigError, InteropError
from interop.facts import AnyPreprocessing, Json, Manifest, Part, PartKind, TextPreprocessing
from interop.identity.metadata import HASH
from interop.reading import parts
from interop.reading.bytes import location
from interop.reading.bytes.address import is_remote
from interop.records import replace

_SMALL = 1 << 20
_ENDLESS = 10**9  # what libraries write where no length is set
# The files that are the tokenizer itself, the first that is there.
_ITSELF = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
           "vocab.txt", "vocab.json", "source.spm")  # fmt: skip


def preprocessing(manifest: Manifest) -> TextPreprocessing | None:
    """How texts are prepared by the tokenizer beside the weights; None where there is none, or a
    processor of images or sounds lies beside it as well."""
    there = {p.path: p for p in manifest.parts if p.kind is PartKind.TOKENIZER}
    name = next((n for n in _ITSELF if n in there), None)
    if name is None or any(p.kind is PartKind.PROCESSOR for p in manifest.parts):
        return None
    settings = _small(there.get("tokenizer_config.json"))
    sentence = _small(next((p for p in manifest.parts if _of_sentences(p)), None))
    length = sentence.get("max_seq_length") or settings.get("model_max_length")
    lowercase = settings.get("do_lower_case")
    side = settings.get("padding_side")
    whole = type(length) is int and 0 < length < _ENDLESS
    part = there[name]
    far = is_remote(part.file) or part.size > parts.MAX_BYTES
    return TextPreprocessing(
        tokenizer=None if far else parts.hashed(part).sha256,
        max_length=length if whole else None,
        padding=side if side in ("left", "right") else None,
        lowercase=lowercase if isinstance(lowercase, bool) else None,
        source=name,
    )


def held_against(
    how: AnyPreprocessing | None, fault: str, manifest: Manifest
) -> tuple[AnyPreprocessing | None, str]:
    """What a model states of its inputs, and the tokenizer beside it: that of a silent model, and
    a contradiction where the statement is of another one."""
    if how is not None and not isinstance(how, TextPreprocessing):
        return how, fault
    own = None if fault else preprocessing(manifest)
    if how is None or own is None:
        return how or own, fault
    if None not in (how.tokenizer, own.tokenizer) and how.tokenizer != own.tokenizer:
        return None, f"{how.source} is of another tokenizer than {own.source}"
    return how, fault


def settled(given: AnyPreprocessing | None, manifest: Manifest) -> AnyPreprocessing | None:
    """What a person gave, with the hash of a tokenizer that they named and that lies beside the
    model. Raises ConfigError where there is none of that name."""
    if not isinstance(given, TextPreprocessing) or given.tokenizer is None:
        return given
    if HASH.fullmatch(given.tokenizer):
        return given
    named = Path(manifest.file).parent / given.tokenizer
    part = next((p for p in manifest.parts if p.path == given.tokenizer), None)
    if part is None and not is_remote(manifest.file) and location.exists(str(named)):
        part = Part(given.tokenizer, PartKind.TOKENIZER, named.stat().st_size, str(named))
    digest = parts.hashed(part).sha256 if part is not None else None
    if digest is None:
        raise ConfigError(
            f"no tokenizer {given.tokenizer!r} here or beside {manifest.path}",
            where=given.source,
            fix="give the path of a tokenizer.json or of its folder, or its sha256",
        )
    return replace(given, tokenizer=digest)


def _of_sentences(part: Part) -> bool:
    return part.path.startswith("sentence_") and part.path.endswith("_config.json")


def _small(part: Part | None) -> Mapping[str, Json]:
    """The JSON object of a file of settings; empty where there is none that can be read."""
    if part is None or part.size > _SMALL or is_remote(part.file):
        return {}
    try:
        settings = parts.loads(part)
    except (InteropError, ValueError):
        return {}
    return settings if isinstance(settings, Mapping) else {}
