"""Pickles as data: opcodes -> inert records -> state dicts, and what stands with them."""
