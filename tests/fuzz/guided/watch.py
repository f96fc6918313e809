"""What a run may cost, and what it may do: counted and watched while interop works on an input."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fuzz.guided.target import Finding

SECONDS = 1.0  # of this process's own time
MEGABYTES = 200
# Events of what nobody does who only reads a file.
_HARMFUL = (
    "os.", "subprocess.", "socket.", "shutil.", "ctypes.", "exec", "compile", "import", "open",
    "pty.", "webbrowser.", "urllib.", "http.", "ftplib.", "tempfile.", "glob.", "marshal.",
    "pickle.", "code.", "sqlite3.", "mmap.",
)  # fmt: skip
_ALLOWED = ("os.scandir", "os.listdir", "os.walk", "os.fwalk", "mmap.__new__")
_ROOT = Path(__file__).resolve().parents[3]

_seen: list[str] = []
_folders: list[str] = []
_hooked = False


def _hook(event: str, args: tuple[object, ...]) -> None:
    if not _folders or not event.startswith(_HARMFUL) or event in _ALLOWED:
        return
    if event == "import" and str(args[0]).partition(".")[0] in _OWN:
        return
    if event == "open":
        if isinstance(args[0], int):
            return
        name = str(Path(os.fsdecode(args[0])).absolute())  # type: ignore[arg-type]
        if not name.startswith((*_folders, *_LIBRARIES)):
            _seen.append(f"open {name}")
    elif not _is_known(event):
        _seen.append(f"{event} {str(args[:1])[:200]}")


# Modules that interop itself imports late.
_OWN = frozenset(
    {"interop", *sys.stdlib_module_names, "numpy", "h5py", "ml_dtypes", "jinja2", "markupsafe"}
)
# Where they lie, and the index of architectures.
_LIBRARIES = (
    str(Path(os.__file__).parent), str(_ROOT / "interop"), str(Path(sys.prefix, "lib")),
    "/proc/", os.devnull,
)  # fmt: skip
# Whose code compiles and runs what is no file's: imports, type hints, records, templates;
# ast compiles literals without running them.
_COMPILERS = (
    "<frozen importlib._bootstrap>", "/typing.py", "/dataclasses.py", "/collections/__init__.py",
    "/jinja2/environment.py", "/ast.py",
)  # fmt: skip
_STARTER = "/interop/reading/formats/hdf5.py"  # which starts the process that reads HDF5


def _is_known(event: str) -> bool:
    """Whether it is what interop does for every file: by who is at work."""
    compiles = event in ("compile", "exec", "marshal.loads")
    starts = event.startswith(("subprocess.", "os.posix_spawn", "os.fork"))
    frame = sys._getframe(2)
    while frame is not None and (compiles or starts):
        name = frame.f_code.co_filename
        if (compiles and name.endswith(_COMPILERS)) or (starts and name.endswith(_STARTER)):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Raises Finding where something of `_HARMFUL` was done, but for files in `folder`."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    _seen.clear()
    _folders[:] = [str(folder.absolute())]
    try:
        yield
    finally:
        _folders.clear()
    if _seen:
        raise Finding(f"executed-{_seen[0].partition(' ')[0]}", "; ".join(_seen[:5]))


_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def _memory(line: str) -> int:
    """A line of Linux's account of this process, in bytes; 0 elsewhere."""
    if not _STATUS.exists():
        return 0
    text = _STATUS.read_bytes()
    return int(text[text.index(line.encode()) :].split(None, 2)[1]) * 1024


@contextmanager
def bounded(seconds: float = SECONDS, megabytes: int = MEGABYTES) -> Iterator[None]:
    """Raises Finding where more of the processor or of memory was taken."""
    held = _memory("VmRSS:")
    if _memory("VmHWM:") - held > 32 << 20:
        _CLEAR.write_text("5")  # forget the most memory that was held
    start = time.process_time()
    yield
    took = time.process_time() - start
    if took > seconds:
        raise Finding("slow", f"{took:.2f} s of the processor")
    if (grown := _memory("VmHWM:") - held) > megabytes << 20:
        raise Finding("memory", f"{grown >> 20} MB")
