"""Folders of distributed trainers: the model in them is found, or what consolidates it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from interop.errors import ReadError
from interop.identity import identify_file
from interop.reading import read

STATE: dict[str, Any] = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)}
STEP = "global_step5"


def deepspeed(folder: Path, **files: Any) -> Path:
    (folder / STEP).mkdir()
    (folder / "latest").write_text(f"{STEP}\n")
    (folder / "zero_to_fp32.py").write_text("")
    for name, content in files.items():
        torch.save(content, folder / STEP / f"{name}.pt")
    return folder


def test_a_stage_of_deepspeed_that_keeps_the_model_whole_is_read(tmp_path: Path) -> None:
    states = {"mp_rank_00_model_states": {"module": STATE}}
    folder = deepspeed(tmp_path, **states, zero_pp_rank_0_mp_rank_00_optim_states={})
    for place in (folder, folder / STEP):
        (found,) = read(place).state_dicts
        assert {t.name for t in found.tensors} == set(STATE)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["zero_pp_rank_0_mp_rank_00_model_states"], "ZeRO-3.*zero_to_fp32.py"),
        (["mp_rank_00_model_states", "mp_rank_01_model_states"], "tensor parallel.*universal"),
        (["pytorch_model_fsdp_rank0", "pytorch_model_fsdp_rank1"], "FSDP.*merge-weights"),
    ],
)
def test_a_model_in_pieces_is_refused_with_what_consolidates_it(
    names: list[str], what: str, tmp_path: Path
) -> None:
    folder = deepspeed(tmp_path, **{name: {"module": STATE} for name in names})
    for place in (folder, folder / STEP):
        with pytest.raises(ReadError, match=what):
            read(place)


def test_accelerates_folder_of_a_sharded_state_dict_is_read(tmp_path: Path) -> None:
    from torch.distributed import checkpoint

    checkpoint.save({"model": STATE}, checkpoint_id=str(tmp_path / "pytorch_model_fsdp_0"))
    (found,) = read(tmp_path).state_dicts
    assert {t.name.rpartition("model.")[2] for t in found.tensors} == set(STATE)


def test_placeholders_are_no_other_head(tmp_path: Path) -> None:
    empty = {n: torch.empty(0) for n in STATE}
    torch.save({"module": empty}, tmp_path / "placeholders.pt")
    identity = identify_file(tmp_path / "placeholders.pt")
    assert identity.kind.startswith("DeepSpeed ZeRO-3 placeholders") and not identity.tensors
    torch.save({"fc.weight": torch.empty(0), "fc.bias": torch.ones(2)}, tmp_path / "one.pt")
    assert not identify_file(tmp_path / "one.pt").kind


def test_the_tag_of_a_folder_does_not_lead_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    torch.save(STATE, tmp_path / "model.pt")
    for tag in ("..", "../a", "/", "."):
        (tmp_path / "a" / "latest").write_text(tag)
        with pytest.raises(ReadError, match="no model file"):
            read(tmp_path / "a")


def test_flat_parameters_of_fsdp_are_named(tmp_path: Path) -> None:
    torch.save({"_fsdp_wrapped_module._flat_param": torch.ones(9)}, tmp_path / "rank0.pt")
    assert identify_file(tmp_path / "rank0.pt").kind.startswith("FSDP's flat parameters")
