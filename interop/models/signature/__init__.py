"""What a forward takes, input by input, and seeded inputs of that kind.

An axis has a size or a name; named axes may vary: "batch", "sequence", "height". What a library's
modules take is told in a file a library, by what the module says of itself.
"""

from interop.models.signature.forward import Forward, narrowed, runs, unmarked
from interop.models.signature.lengths import settled
from interop.models.signature.types import (
    BATCH,
    Argument,
    Arrays,
    Signature,
    drawn,
    parse_argument,
    seeded,
    stacked,
)

__all__ = [
    "BATCH",
    "Argument",
    "Arrays",
    "Forward",
    "Signature",
    "drawn",
    "narrowed",
    "parse_argument",
    "runs",
    "seeded",
    "settled",
    "stacked",
    "unmarked",
]
