"""Frozen features: extracted once for a split, kept on disk, resumed where that stopped."""

import functools
import hashlib
import json
import math
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from vggface_gender.backbones.onnx_network import OnnxNetwork
from vggface_gender.backbones.surgery import FEATURES, maker
from vggface_gender.base import device, locks, parts
from vggface_gender.base.errors import InputError
from vggface_gender.base.parts import HERE, Engine, Part, Tick
from vggface_gender.data import augmentation, features_cache, records
from vggface_gender.data.augmentation import Amounts
from vggface_gender.data.features_file import FeaturesFile
from vggface_gender.datasets import Dataset

Load = Callable[[], Any]  # gives a network, whose backbone is its `model`

LARGEST_BATCH = 64
LARGEST_OUTPUT = 2**28  # bytes that one layer's output of a batch may take
WIDE = 4096  # numbers a crop: features of more are kept in float16
JOINED_AT_ONCE = 4096  # rows
VERSION = 1  # of what lies between a record and its features: raise it when that changes

_networks: dict[bytes, Any] = {}  # of this process, by how it is loaded
_loading = threading.Lock()


class Wanted(NamedTuple):
    """Of what images features are wanted."""

    dataset: Dataset
    split: str
    view: int | None = None  # of augmented crops, as `records.batches` takes it


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
    dtype: str | None = None,
    engine: Engine = HERE,
    load: Load | None = None,
) -> FeaturesFile:
    """A split's features under a frozen backbone, from the cache in `directory` or computed.

    The file's name is a hash of everything that makes the features: records, split, frame, view,
    backbone weights, the layer and the precision. Rows are written as they are computed into space
    taken at the start, so memory does not grow with the dataset, and the same call after a kill
    goes on from the last batch written. A file in which any row is not as it was written is
    computed anew from there, which a line on standard error says. Of several processes that want
    the same features one computes them, and the others wait.

    Args:
        backbone: one input (b, size, size, 3), one output.
        padding: the crops' frame (see `records.batches`).
        batch_size: crops in a forward pass; None for as many as fit (see `fitting_batch_size`).
        view, amounts: of augmented crops, as `records.batches` takes them.
        dtype: to keep them in, "float32" or "float16"; by default what `kept_in` says.
        engine: does the parts of the work, a shard each, where it isn't this process alone.
        load: gives a network, whose `model` is the backbone, in other processes; can be pickled.
            With another engine; not with a view.

    Returns:
        (n, ...) float32 in the order of `records.labels`, read from the file row by row.

    Raises:
        InputError: the disk has no room for them; the records are not as many as they should be;
            the backbone gives a number that is not finite.
        Unfinished: the engine does a share of the parts, which is done.
    """
    batch_size = batch_size or fitting_batch_size(backbone)
    place = _place(
        Wanted(dataset, split, view), backbone, padding, directory, amounts=amounts, dtype=dtype
    )
    if found := features_cache.whole(place):
        locks.sweep(place.done)
        return found
    shards: list[Part] = []
    if load is not None and (engine is not HERE or parts.is_begun(place.done)):
        folder = parts.place(place.done, dataset.fingerprint)
        shards = _parts(
            dataset, split, load=load, padding=padding, batch_size=batch_size, folder=folder
        )
        parts.finish(engine, shards, what=f"features, {split}")
    with locks.held(place.done):
        if found := features_cache.whole(place):  # by who held the lock before
            return found
        if shards:
            return _joined(shards, place)
        rows = features_cache.unfinished(place)
        start = rows.whole() // batch_size * batch_size
        batches = _computed(
            dataset,
            split,
            backbone=backbone,
            padding=padding,
            batch_size=batch_size,
            skip=start,
            view=view,
            amounts=amounts,
        )
        what = f"features, {split}" if view is None else f"features, {split}, view {view + 1}"
        with tqdm(total=len(rows), initial=start, desc=what, unit=" images") as bar:
            for computed in batches:
                first, start = start, start + len(computed)
                if start <= len(rows):
                    rows.write(first, computed)
                bar.update(len(computed))
        if start != len(rows):
            raise InputError(
                f"{dataset.directory}: the {split} split does not have the {len(rows):,} records "
                "that were written; delete this folder, and give the command again"
            )
        place.part.replace(place.done)
    return FeaturesFile(place.done, **place.form)


def _computed(
    dataset: Dataset,
    split: str,
    *,
    backbone: keras.Model,
    padding: float | None,
    batch_size: int,
    **which: Any,
) -> Iterator[np.ndarray]:
    """The features of some records, batch by batch, once they are known to be finite.

    Args:
        which: of the records, as `records.batches` takes it.
    """
    crops = records.batches(
        dataset,
        split,
        batch_size=batch_size,
        size=backbone.input_shape[1],
        padding=padding,
        **which,
    )
    for crop in crops.as_numpy_iterator():
        computed = predict(backbone, crop["image"], batch_size=batch_size)
        _check(computed, crop["name"], backbone=backbone, dataset=dataset, split=split)
        yield computed


def _parts(
    dataset: Dataset,
    split: str,
    *,
    load: Load,
    padding: float | None,
    batch_size: int,
    folder: Path,
) -> list[Part]:
    """The parts of a split's features: those of each shard, in a file of NumPy's."""
    return [
        Part(
            folder / f"{number:05d}.npy",
            functools.partial(
                _write_shard,
                dataset=dataset.light,
                split=split,
                shard=number,
                load=load,
                padding=padding,
                batch_size=batch_size,
            ),
            size=shard.size,
        )
        for number, shard in enumerate(records.shards(dataset, split))
    ]


def _write_shard(
    path: Path,
    tick: Tick,
    *,
    dataset: Dataset,
    split: str,
    shard: int,
    load: Load,
    padding: float | None,
    batch_size: int,
) -> None:
    """Write a shard's features, in the order of its records: (n, ...) float32."""
    backbone = loaded(load).model
    batches = _computed(
        dataset, split, backbone=backbone, padding=padding, batch_size=batch_size, shard=shard
    )
    count = records.shards(dataset, split)[shard].size
    shape = (count, *backbone.output_shape[1:])
    rows = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    start = 0
    for computed in batches:
        rows[start : start + len(computed)] = computed
        start += len(computed)
        tick(len(computed))
    rows.flush()


def _joined(wanted: Sequence[Part], place: features_cache.Place) -> FeaturesFile:
    """The features file of all shards' features, in the order of `records.labels`."""
    shards = [np.load(part.path, mmap_mode="r") for part in wanted]
    counts = [len(shard) for shard in shards]
    order, starts = records.order(counts), np.cumsum([0, *counts])
    rows = features_cache.unfinished(place)
    for start in range(0, len(order), JOINED_AT_ONCE):
        places = order[start : start + JOINED_AT_ONCE]
        owners = np.searchsorted(starts, places, side="right") - 1
        some = np.empty((len(places), *place.shape[1:]), np.float32)
        for owner in np.unique(owners):
            its = owners == owner
            some[its] = shards[owner][places[its] - starts[owner]]
        rows.write(start, some)
    place.part.replace(place.done)
    parts.discard(place.done)
    return FeaturesFile(place.done, **place.form)


def loaded(load: Load) -> Any:
    """The network that a function gives, loaded once in a process."""
    device.start()
    key = pickle.dumps(load)
    with _loading:
        if key not in _networks:
            _networks.clear()  # a command has one
            _networks[key] = load()
        return _networks[key]


def reserve(
    wanted: Iterable[Wanted],
    *,
    backbone: keras.Model,
    padding: float | None,
    directory: Path,
    amounts: Amounts = augmentation.NONE,
    dtype: str | None = None,
) -> None:
    """Take the disk's space for all features that a training will need, before any is computed.

    Args:
        wanted: those that are there already are left alone.
        backbone, padding, directory, amounts, dtype: see `extract`.

    Raises:
        InputError: the disk has no room for all of them.
    """
    places = [
        _place(one, backbone, padding, directory, amounts=amounts, dtype=dtype) for one in wanted
    ]
    features_cache.reserve(places)


def kept_in(shape: tuple[int, ...]) -> str:
    """The dtype that features of this shape (of one crop) are kept in.

    "float16" for more than `WIDE` numbers, such as VGG-Face's pool5, whose 25,088 take 5 GB for
    100,000 crops then, in place of 10. Each row has a scale of its own, so no number is too large,
    and none moves by more than a 2,048th of itself but those below a 200 millionth of the row's
    largest. "float32" for narrower features, which are kept as they are.
    """
    return "float16" if math.prod(shape) > WIDE else "float32"


def fitting_batch_size(model: keras.Model) -> int:
    """The power of two, at most `LARGEST_BATCH`, whose largest output is within `LARGEST_OUTPUT`.

    VGG-Face's first block gives 13 MB of `float32` for a crop, and holds several such at once: 64
    crops would take gigabytes, and are no faster than 16.

    Args:
        model: a functional model, or one of several.
    """
    largest = 4 * max(_output_sizes(model), default=1)
    fitting = max(1, LARGEST_OUTPUT // largest)
    return min(LARGEST_BATCH, 1 << (fitting.bit_length() - 1))


def _output_sizes(model: keras.Model) -> Iterator[int]:
    """How many numbers a crop each layer gives, where that does not depend on the crop."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _output_sizes(layer)
            continue
        for output in keras.tree.flatten(layer.output):
            if None not in output.shape[1:]:
                yield math.prod(output.shape[1:])


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
        "layer": _layers(backbone),
        "size": backbone.input_shape[1],
        "padding": padding,
        "precision": sorted({layer.dtype_policy.name for layer in backbone.layers}),
    }
    if onnx := [layer.get_config() for layer in backbone.layers if isinstance(layer, OnnxNetwork)]:
        made_by |= {"onnx": onnx}  # how its pictures are scaled; other networks' layers say that
    if view is not None:
        made_by |= {"view": view, "amounts": amounts}
    if dtype != "float32":
        made_by |= {"dtype": dtype}
    return hashlib.blake2b(json.dumps(made_by).encode(), digest_size=8).hexdigest()


def _layers(backbone: keras.Model) -> list[str]:
    """The layers whose outputs the features are, those that are joined too."""
    names = backbone.output_names
    joined = [] if names != [FEATURES] else keras.tree.flatten(backbone.get_layer(FEATURES).input)
    return [maker(each).name for each in joined] if len(joined) > 1 else names


def _place(
    wanted: Wanted,
    backbone: keras.Model,
    padding: float | None,
    directory: Path,
    *,
    amounts: Amounts,
    dtype: str | None,
) -> features_cache.Place:
    dataset, split, view = wanted
    shape = (dataset.count(split), *backbone.output_shape[1:])
    dtype = dtype or kept_in(shape[1:])
    key = _key(dataset, split, backbone, padding, view, amounts, dtype)
    done = directory / f"{dataset.slug}-{split}-{backbone.name}-{key}.h5"
    return features_cache.Place(done, done.with_suffix(".part.h5"), shape, dtype)


def _check(
    rows: np.ndarray,
    names: np.ndarray,
    *,
    backbone: keras.Model,
    dataset: Dataset,
    split: str,
) -> None:
    """Refuse features that are not finite.

    Raises:
        InputError: it names the first image that has such.
    """
    wrong = ~np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    if wrong.any():
        name = names[int(wrong.argmax())].decode(errors="backslashreplace")
        raise InputError(
            f"{backbone.name}, layer {', '.join(backbone.output_names)}: gives numbers that are "
            f"not finite for {name} ({dataset.name}, {split}): its weights are damaged, or it "
            "needs --precision float32"
        )
