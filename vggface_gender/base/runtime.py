"""ONNX Runtime, with its telemetry switched off: nothing here imports it in another way."""

import os

# ONNX Runtime's own builds report their use to Microsoft, and write a file to the temporary folder,
# unless this is set before they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

__all__ = ["onnxruntime"]
