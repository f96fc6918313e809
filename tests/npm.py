"""The folder of an npm package; see `tests.helpers.npm`."""

from tests.helpers.npm import installed

__all__ = ["installed"]
