"""Manifest -> Identity: whose architecture, what head, labels and preprocessing."""

from interop.identity.pipeline import (
    choose_state_dict,
    identify,
    identify_file,
    places_of,
    split_place,
    with_runner_up,
    with_values,
)

__all__ = [
    "choose_state_dict", "identify", "identify_file", "places_of", "split_place", "with_runner_up",
    "with_values",
]  # fmt: skip
