"""ONNX Runtime as it is used everywhere here: nothing imports it, or sets it up, in another way."""

import os
from collections.abc import Sequence
from pathlib import Path

# ONNX Runtime's own builds report their use to Microsoft, and write a file to the temporary folder,
# unless this is set before they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

__all__ = ["onnxruntime", "session"]

CPU = "CPUExecutionProvider"


def session(
    model: str | Path | bytes, *, providers: Sequence[str] = (CPU,)
) -> onnxruntime.InferenceSession:
    """A model that several threads may run at once; what goes wrong is raised, not printed.

    Its own threads sleep where they have nothing to do. By default they would keep a core busy
    waiting, which others need to read and decode: crops are answered a sixth slower then.

    Args:
        model: its file, or what that holds.
        providers: what to compute on, by ONNX Runtime's names, the first that is there.

    Raises:
        Exception: of many kinds, ONNX Runtime's own: there is no such file, or it is no model.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=list(providers))
