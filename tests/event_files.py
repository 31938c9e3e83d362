"""What TensorBoard reads from a folder of events."""

from pathlib import Path

import numpy as np


def read(folder: Path) -> dict[str, list[tuple[int, object]]]:
    """Every tag's steps and values, an image's value being (height, width), a text's its words."""
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), {"tensors": 0}).Reload()
    found = {}
    for tag in events.Tags()["tensors"]:
        kind = events.SummaryMetadata(tag).plugin_data.plugin_name
        found[tag] = [
            (one.step, _value(kind, tf.make_ndarray(one.tensor_proto)))
            for one in events.Tensors(tag)
        ]
    return found


def scalars(folder: Path, step: int = 0) -> dict[str, float]:
    """The numbers of a folder whose tags have one value each, at that step."""
    found = {}
    for tag, values in read(folder).items():
        if isinstance(values[0][1], float):
            [(at, found[tag])] = values
            assert at == step
    return found


def settings(folder: Path) -> tuple[str, dict[str, object]]:
    """A run's name and settings, as the HParams page reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    events = EventAccumulator(str(folder)).Reload()
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    info = metadata.parse_session_start_info_plugin_data(content)
    kinds = {key: value.WhichOneof("kind") for key, value in info.hparams.items()}
    return info.group_name, {key: getattr(info.hparams[key], kinds[key]) for key in kinds}


def _value(kind: str, value: np.ndarray):
    if kind == "scalars":
        return float(value)
    if kind == "images":
        return int(value[1]), int(value[0])
    return value.item().decode() if kind == "text" else value
