"""An ONNX graph of a known architecture -> its checkpoint, proved."""
