"""A folder of pictures -> labelled batches, prepared as the model expects.

numpy and Pillow alone, so that PyTorch and ONNX Runtime are handed the very same bytes.
"""

from interop.data.folder import Batch, Folder, Sample
from interop.data.pictures import prepare

__all__ = ["Batch", "Folder", "Sample", "prepare"]
