"""What each rule needs of a Case, so that a rule that lacks it is not even loaded.

Rules that are not named need a candidate alone. Each says the same itself; a test compares them.
"""

from __future__ import annotations

_NAMES = {
    ("measurements",): """
        accuracy_drop data_unlike_training evidence_weak host_too_noisy latency_regressed
        negative_flips opset_unsupported peak_memory_over_budget prediction_flips
        provider_not_allowed size_over_budget throughput_regressed
    """,
    ("assumptions",): """
        architecture_assumed input_assumed
    """,
    ("proofs",): """
        axis_restricted batch_axis_fixed bundle_changed comparison_blind forward_differs
        onnx_weights_differ output_drift weights_unused
    """,
    ("pair",): """
        backbone_mismatch container_changed graph_changed head_width_changed
        input_contract_changed key_missing key_prefix_shifted key_renamed key_unexpected
        label_order_changed labels_changed output_contract_changed preprocessing_changed
        tensor_dtype_narrowed tensor_layout_changed tensor_shape_changed wrapper_changed
    """,
    ("pair", "parts"): """
        config_changed part_changed tokenizer_changed
    """,
    ("evidence",): """
        evidence_foreign evidence_missing evidence_stale
    """,
    ("unreadable",): """
        external_data_escapes_folder file_truncated file_unrecognised index_escapes_folder
        model_nested pickle_over_limit safetensors_header_invalid zip_checksum_wrong
        zip_entry_duplicated zip_entry_encrypted zip_entry_escapes zip_headers_disagree
    """,
    (): """
        graph_invalid
    """,
    ("values",): """
        tensor_constant tensor_not_finite
    """,
    ("pair", "values"): """
        weights_unchanged_from_base
    """,
}
NEEDS = {name: needs for needs, names in _NAMES.items() for name in names.split()}
