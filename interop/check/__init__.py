"""Two identities -> their pairing, the rules' findings and the three verdicts."""

from interop.check.options import CheckOptions, InspectOptions
from interop.check.pipeline import check, check_identities, found_in, inspect

__all__ = [
    "CheckOptions", "InspectOptions", "check", "check_identities", "found_in", "inspect",
]  # fmt: skip
