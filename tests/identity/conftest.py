"""What other rooms import from here; see `tests.helpers.manifests`."""

from tests.helpers.manifests import Shapes, manifest, shapes_of

__all__ = ["Shapes", "manifest", "shapes_of"]
