"""One exception tree. Each error says what is wrong, where, and what mends it, in one line.

The command line prints `str(error)` on stderr and exits with `exit_code`; nothing else in the
package decides on an exit code for a failure.
"""

from __future__ import annotations

import re
from importlib.util import find_spec


class InteropError(Exception):
    """Base of all errors that a person can act on.

    `what` is the cause in half a sentence, `where` the file, key or option it was found at, `fix`
    what to do about it; `rule` is the id of the rule that explains it (`interop explain RULE`).
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", fix: str = "", rule: str = "") -> None:
        super().__init__(what)
        self.what = " ".join(what.split())
        self.where = where
        self.fix = " ".join(fix.split())
        self.rule = rule

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        if self.fix:
            line += f"; {self.fix}"
        if self.rule:
            line += f" [{self.rule}]"
        return line


class ReadError(InteropError):
    """A model file cannot be read: missing, empty, cut off, or nothing that we know."""


class ConfigError(InteropError):
    """A policy, label file or preprocessing description is not what it should be."""


class ModelError(InteropError):
    """No runnable module can be made of a checkpoint: architecture unknown, head hidden."""


class Unsettled(InteropError):
    """What no file states would have to be assumed, and the person does not allow it."""

    exit_code = 3


class DataError(InteropError):
    """A data set is missing, empty, or does not fit the model's labels."""


class ExtraMissing(InteropError):
    """A command needs packages that the light install leaves out."""


class DeviceMissing(InteropError):
    """The asked-for device was not had: never replaced by another one."""

    exit_code = 3


_RUNS = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "safetensors")


def need_torch_side(command: str) -> None:
    """Say in one line what a command lacks on the light install. Raises ExtraMissing."""
    for module in _RUNS:
        if find_spec(module) is None:
            raise ExtraMissing(
                f"'interop {command}' runs models and needs {module}, which is not installed",
                fix="pip install 'model-interop[run]'",
            )


def first_line(error: BaseException, most: int = 200) -> str:
    """Return the first line of what an error of a library says, or the name of its class.

    Folders in front of a file's name are left out: many are temporary, of this run alone.
    """
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return without_folders(line)[:most]


def without_folders(text: str) -> str:
    """Return the text with each absolute path cut down to its last name; addresses stay."""
    return re.sub(r"(?<![:/\w.])(?:/[\w.+-]+)+/", "", text)
