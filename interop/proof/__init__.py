"""An exported graph, its weights and the module it came of -> the proofs that nothing changed.

"loaded fraction" is made where the weights are loaded, in `interop.models`; the other four here.
"""

from interop.proof.canary import canary
from interop.proof.feed import Feed
from interop.proof.parity import Reference, parity, reference
from interop.proof.same_weights import Derived, same_weights
from interop.proof.structure import structure

__all__ = [
    "Derived",
    "Feed",
    "Reference",
    "canary",
    "parity",
    "reference",
    "same_weights",
    "structure",
]
