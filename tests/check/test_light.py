"""The light side answers without torch or numpy, and no module of it can pull them in unseen."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIGHT = ("reading", "identity", "check", "rules", "policy", "gate", "report", "cli")
HEAVY = frozenset(
    {"torch", "torchvision", "numpy", "onnx", "onnxruntime", "onnxscript", "safetensors"}
)
# The modules that go over values are imported only where values are asked for.
VALUES = set((ROOT / "interop" / "reading" / "values").glob("[cd]*.py"))
TORCH_SIDE = (
    "data", "tasks", "stats", "models", "runtimes", "proof", "export", "port", "bench", "finetune",
    "assess",
)  # fmt: skip


def heavy_imports(source: str) -> set[str]:
    """Heavy packages, and rooms of the torch side, that a module imports when it is imported."""
    found: set[str] = set()
    tree = ast.parse(source)
    # Only statements that run at import: not those inside functions.
    todo = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    roots = {name.split(".")[0] for name in found} & HEAVY
    torch_side = tuple(f"interop.{r}" for r in TORCH_SIDE)
    # What a person may ask of the torch side is said without it.
    return roots | {n for n in found if n.startswith(torch_side) and not n.endswith(".options")}


@pytest.mark.parametrize("room", LIGHT)
def test_no_module_of_the_light_side_pulls_in_torch(room: str) -> None:
    for path in (ROOT / "interop" / room).rglob("*.py"):
        allowed = {"numpy"} if path in VALUES else set()
        assert heavy_imports(path.read_text("utf-8")) == allowed, path.name


def test_a_module_that_does_is_refused() -> None:
    assert heavy_imports("try:\n    import torch.nn\nexcept ImportError:\n    torch = None\n") == {
        "torch"
    }
    assert heavy_imports("from interop.models import build\n") == {"interop.models"}
    assert heavy_imports("def f():\n    import torch\n") == set()


@pytest.mark.parametrize(
    "command",
    [
        ["check", "shufflenet.pth", "squeezenet.pth"],
        ["inspect", "shufflenet.pth", "--format", "json"],
        ["gate", "squeezenet.pth", "--baseline", "shufflenet.pth", "--policy", "{policy}"],
        ["explain", "key-missing"],
        ["--help"],
        *([command, "--help"] for command in ("export", "bench", "port", "finetune", "assess")),
    ],
)
def test_a_command_loads_neither_torch_nor_numpy(
    command: list[str], digits: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "interop.toml"
    policy.write_text("values = false\n")
    arguments = [
        str(digits / a) if a.endswith(".pth") else a.format(policy=policy) for a in command
    ]
    code = (
        "import sys\n"
        "from interop.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        "finally:\n"
        f"    print(sorted({sorted(HEAVY)!r} & sys.modules.keys()), file=sys.stderr)\n"
    ).replace(f"{sorted(HEAVY)!r} &", f"set({sorted(HEAVY)!r}) &")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


# What a check or a look into a checkpoint has no use for, and what each costs more than the reading
# of a small file: parsers of options, page templates, compilers, protocols, tools of inspection.
UNUSED = frozenset(
    {
        "argparse", "ast", "asyncio", "click", "dataclasses", "email", "gettext",
        "importlib.metadata", "inspect", "jinja2", "locale", "logging", "platform", "random",
        "shlex", "shutil", "socket", "subprocess", "tempfile", "threading", "tokenize",
        "traceback", "urllib.request", "uuid", "xml", "zipfile", "interop.cli.group",
        "interop.cli.options", "interop.files", "interop.identity.imprint", "interop.installation",
        "interop.policy", "interop.gate", "interop.report.html", "interop.report.json",
        "interop.reading.bytes.remote", "interop.reading.folder", "interop.rules.accuracy_drop",
        "interop.rules.file_truncated", "interop.rules.config_changed",
        "interop.facts.sections.bench",
    }
)  # fmt: skip
# The imprint of a file's first layers is a part of what inspect says of it.
OF_INSPECT = frozenset({"interop.identity.imprint"})
LOADED = "import sys\nfrom interop.cli import main\n{first}\ntry:\n    main({given!r})\nfinally:\n"
LOADED += "    print(*sys.modules, file=sys.stderr)\n"


def loaded(arguments: list[str], first: str = "") -> set[str]:
    """The modules that a command loads; in a Python that has loaded none for itself."""
    code = LOADED.format(first=first, given=arguments)
    # Without site, whose packages may load anything at the start.
    paths = [str(ROOT), *(p for p in sys.path if p.endswith("site-packages"))]
    code = f"import sys\nsys.path[:0] = {paths!r}\n{code}"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("command", "allowed"),
    [(["check", "shufflenet.pth", "squeezenet.pth"], frozenset()),
     (["inspect", "shufflenet.pth"], OF_INSPECT)],
)  # fmt: skip
def test_a_check_loads_what_it_uses_alone(
    command: list[str], allowed: frozenset[str], digits: Path
) -> None:
    given = [str(digits / a) if a.endswith(".pth") else a for a in command]
    assert loaded(given) & (UNUSED - allowed) == set()


def test_a_module_that_is_of_no_use_is_seen(digits: Path) -> None:
    given = ["inspect", str(digits / "shufflenet.pth")]
    assert loaded(given, "import uuid, interop.report.json") & UNUSED >= {"uuid", "dataclasses"}
    assert "click" in loaded([*given, "--tensors"])
