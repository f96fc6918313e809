"""What training left in the weights: running statistics and a few inputs -> how a model was fed.

The part that needs the file alone is `interop.identity.imprint`.
"""

from interop.imprint.decide import decided, divergence, note
from interop.imprint.pipeline import measure, preparation, stated_divergence

__all__ = ["decided", "divergence", "measure", "note", "preparation", "stated_divergence"]
