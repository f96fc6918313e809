"""On one thread, as those of `tests.assess`."""

from tests.assess.conftest import one_thread

__all__ = ["one_thread"]
