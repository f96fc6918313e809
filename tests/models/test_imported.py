"""torchvision without torch's compiler, and what needs the compiler all the same."""

from __future__ import annotations

import subprocess
import sys

from tests.helpers.commands import ROOT


def said(code: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


LOAD = "import sys; from interop.models.libraries.torchvision.imported import torchvision; "
ASK = "print('torch._dynamo' in sys.modules)"


def test_the_compiler_is_not_loaded() -> None:
    assert said(f"{LOAD}torchvision().models.list_models(); {ASK}") == "False"
    assert said(f"import sys, torchvision; {ASK}") == "True"  # as it is without


def test_what_asks_for_it_has_it() -> None:
    uses = (
        "tv = torchvision(); import torch; here = sys.modules['torchvision.ops.roi_align']; "
        "print(here.is_compile_supported('cpu')); "
        "net = torch.compile(torch.nn.Linear(2, 2), backend='eager'); "
        "print(tuple(net(torch.ones(1, 2)).shape)); "
        "print(torch._dynamo.utils.is_compile_supported('cpu'))"
    )
    assert said(LOAD + uses).splitlines() == ["True", "(1, 2)", "True"]
