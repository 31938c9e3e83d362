"""Frozen features: extracted once for a split, kept on disk, resumed where that stopped."""

import hashlib
import json
import math
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
from tqdm import tqdm

from vggface_gender.base.errors import InputError
from vggface_gender.data import augmentation, records
from vggface_gender.data.augmentation import Amounts
from vggface_gender.datasets import Dataset

LARGEST_BATCH = 64
LARGEST_OUTPUT = 2**28  # bytes that one layer's output of a batch may take
VERSION = 1  # of what lies between a record and its features: raise it when that changes


def extract(
    dataset: Dataset,
    split: str,
    *,
    backbone: keras.Model,
    padding: float | None,
    directory: Path,
    batch_size: int | None = None,
    view: int | None = None,
    amounts: Amounts = augmentation.NONE,
    dtype: str = "float32",
) -> np.ndarray:
    """A split's features under a frozen backbone, from the cache in `directory` or computed.

    The file's name is a hash of everything that makes the features: records, split, frame, view,
    backbone weights, the layer and the precision. Rows are written as they are computed into space
    set aside at the start, so memory does not grow with the dataset, and the same call after a
    kill goes on from the last batch written.

    Args:
        backbone: one input (b, size, size, 3), one output.
        padding: the crops' frame (see `records.batches`).
        batch_size: crops in a forward pass; None for as many as fit (see `fitting_batch_size`).
        view, amounts: of augmented crops, as `records.batches` takes them.
        dtype: to keep them in; "float16" halves the space of large maps.

    Returns:
        (n, ...) of that dtype in the order of `records.labels`, mapped from the file, not
        read.

    Raises:
        InputError: the disk has no room for them.
    """
    count, shape = dataset.counts[split], tuple(backbone.output_shape[1:])
    size = backbone.input_shape[1]
    batch_size = batch_size or fitting_batch_size(backbone)
    key = _key(dataset, split, backbone, padding, view, amounts, dtype)
    done = directory / f"{dataset.slug}-{split}-{backbone.name}-{key}.h5"
    if done.exists():
        return _map(done)

    part = done.with_suffix(".part.h5")
    start = rows_done(part)
    if start is None:
        _create(part, count, shape, np.dtype(dtype))
        start = 0
    crops = records.batches(
        dataset,
        split,
        batch_size=batch_size,
        size=size,
        padding=padding,
        skip=start,
        view=view,
        amounts=amounts,
    )
    what = f"features, {split}" if view is None else f"features, {split}, view {view + 1}"
    with (
        h5py.File(part, "r+") as file,
        tqdm(total=count, initial=start, desc=what, unit=" images") as bar,
    ):
        for crop in crops.as_numpy_iterator():
            rows = predict(backbone, crop["image"], batch_size=batch_size)
            end = start + len(rows)
            file["features"][start:end] = rows
            # Data first, then the count of it: a kill between the two costs one batch.
            file.flush()
            file["rows_done"][0] = start = end
            file.flush()
            bar.update(len(rows))
    part.rename(done)
    return _map(done)


def fitting_batch_size(backbone: keras.Model) -> int:
    """The power of two, at most `LARGEST_BATCH`, whose largest output is within `LARGEST_OUTPUT`.

    VGG-Face's first block gives 13 MB of `float32` for a crop, and holds several such at once: 64
    crops would take gigabytes, and are no faster than 16.
    """
    shapes = [
        tuple(output.shape[1:])
        for layer in backbone.layers
        for output in keras.tree.flatten(layer.output)
    ]
    largest = 4 * max(math.prod(shape) for shape in shapes)
    fitting = max(1, LARGEST_OUTPUT // largest)
    return min(LARGEST_BATCH, 1 << (fitting.bit_length() - 1))


def predict(backbone: keras.Model, crops: np.ndarray, *, batch_size: int) -> np.ndarray:
    """`float32` features of at most `batch_size` crops, in one forward pass of exactly as many.

    A second batch size would have the whole graph traced and its kernels prepared again, which
    takes seconds.
    """
    filled = np.zeros((batch_size, *crops.shape[1:]), crops.dtype)
    filled[: len(crops)] = crops
    return np.asarray(backbone.predict_on_batch(filled), np.float32)[: len(crops)]


def _key(
    dataset: Dataset,
    split: str,
    backbone: keras.Model,
    padding: float | None,
    view: int | None,
    amounts: Amounts,
    dtype: str,
) -> str:
    """A hash of what makes the features."""
    weights = hashlib.blake2b(digest_size=16)
    for variable in backbone.variables:
        weights.update(variable.path.encode())
        weights.update(keras.ops.convert_to_numpy(variable).tobytes())
    made_by = {
        "version": VERSION,
        "records": dataset.fingerprint,
        "split": split,
        "weights": weights.hexdigest(),
        "layer": backbone.output_names,
        "size": backbone.input_shape[1],
        "padding": padding,
        "precision": sorted({layer.dtype_policy.name for layer in backbone.layers}),
    }
    if view is not None:
        made_by |= {"view": view, "amounts": amounts}
    if dtype != "float32":
        made_by |= {"dtype": dtype}
    return hashlib.blake2b(json.dumps(made_by).encode(), digest_size=8).hexdigest()


def _create(path: Path, count: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """An HDF5 file with room for all features, laid out so that later writes touch only data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    needed = dtype.itemsize * count * int(np.prod(shape))
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise InputError(
            f"{path.parent}: the features need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are "
            "free; make room, or have the records elsewhere (--data-dir)"
        )
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w") as file:
        for name, kind, extent in (
            ("features", h5py.h5t.py_create(dtype), (count, *shape)),
            ("rows_done", h5py.h5t.NATIVE_INT64, (1,)),
        ):
            space = h5py.h5s.create_simple(extent)
            h5py.h5d.create(file.id, name.encode(), kind, space, dcpl=early)
        file["rows_done"][0] = 0


def rows_done(path: Path) -> int | None:
    """How many rows an unfinished file holds; None if there is none that can be used.

    Raises:
        InputError: another process is writing it.
    """
    try:
        with h5py.File(path, "r") as file:
            return int(file["rows_done"][0])
    except BlockingIOError:
        raise InputError(f"{path}: another process is extracting these features; wait") from None
    except (OSError, KeyError):  # not there, or the kill came while it was created
        return None


def _map(path: Path) -> np.ndarray:
    """The features in a finished file as an array that reads its rows when they are asked for."""
    with h5py.File(path, "r") as file:
        stored = file["features"]
        return np.memmap(
            path, stored.dtype, mode="r", offset=stored.id.get_offset(), shape=stored.shape
        )
