"""A data set's path -> labelled records, prepared as the model expects.

numpy and the model's own tokenizer or feature extractor, so that PyTorch and ONNX Runtime are
handed the very same bytes. Heavy libraries are imported by what needs them, when it does.
"""

from interop.data.folder import Batch, Folder, Sample
from interop.data.opening import open_data
from interop.data.pictures import prepare
from interop.data.preparing import preparation

__all__ = ["Batch", "Folder", "Sample", "open_data", "preparation", "prepare"]
