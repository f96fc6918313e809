"""A block of code and seconds -> the block ends, or OutOfTime is raised in it."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator


class OutOfTime(BaseException):
    """A route of an exporter took longer than its budget.

    Not an Exception: the exporter would catch that, and try something else.
    """


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block after so many seconds.

    Python raises it between two of its steps: a call into torch's C++ code ends first.
    """
    thread, lock, over = threading.get_ident(), threading.Lock(), False

    def end() -> None:
        with lock:
            if not over:
                wanted = ctypes.c_ulong(thread), ctypes.py_object(OutOfTime)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(*wanted)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
        timer.cancel()
