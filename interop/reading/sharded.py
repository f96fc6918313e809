"""A folder that a distributed trainer wrote -> where its model lies, or what consolidates it."""

from __future__ import annotations

from interop.errors import ReadError
from interop.patterns import lazy
from interop.reading.bytes import location
from interop.reading.bytes.address import unrecognised
from interop.reading.bytes.location import joined, text

_STATES = lazy(r"mp_rank_\d+_model_states\.pt")
_ZERO_3 = lazy(r"zero_pp_rank_\d+_mp_rank_\d+_model_states\.pt")
_LOCAL = lazy(r"pytorch_model_fsdp_rank_?\d+\.(bin|pt)")
_FSDP = "pytorch_model_fsdp_0"
_LATEST = "latest"
_TAG = lazy(r"\w[\w.-]{0,200}")


def model_in(path: str, names: list[str]) -> str | None:
    """Return the file or the folder in which the whole model lies.

    None if no distributed trainer that is known here wrote the folder. Raises ReadError, with what
    consolidates it, if the model is in pieces.
    """
    if any(map(_ZERO_3.fullmatch, names)):
        script = "zero_to_fp32.py, which DeepSpeed puts beside it: python zero_to_fp32.py . OUT"
        raise in_pieces(path, "DeepSpeed ZeRO-3", script)
    if any(map(_LOCAL.fullmatch, names)):
        raise in_pieces(path, "FSDP (local state dicts)", "accelerate merge-weights FOLDER OUT")
    states = list(filter(_STATES.fullmatch, names))
    if len(states) > 1:
        raise in_pieces(path, "DeepSpeed (tensor parallel)", "DeepSpeed's ds_to_universal.py")
    if states:
        return states[0]
    tag = text(joined(path, _LATEST), 1_000).strip() if _LATEST in names else _FSDP
    return tag if _TAG.fullmatch(tag) and location.is_folder(joined(path, tag)) else None


def in_pieces(path: str, what: str, tool: str) -> ReadError:
    """The refusal of a checkpoint of which no file has the whole model."""
    said = f"a {what} checkpoint, with its weights in pieces"
    return unrecognised(path, said, f"consolidate it with {tool}")
