"""Two identities -> their pairing, the rules" findings and the three verdicts."""

from interop.check.pipeline import check, check_identities, inspect

__all__ = ["check", "check_identities", "inspect"]
