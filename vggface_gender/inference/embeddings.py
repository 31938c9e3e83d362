"""Faces' embeddings, or other features, written as a table: a row a face, as CSV or as HDF5."""

import contextlib
import csv
import functools
import math
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from vggface_gender.base import files, parts
from vggface_gender.base.errors import InputError
from vggface_gender.base.parts import HERE, Engine, Part, Tick
from vggface_gender.data import features, records
from vggface_gender.datasets import Dataset
from vggface_gender.inference import pipeline
from vggface_gender.inference.feature_network import Network
from vggface_gender.photos import crops as photo_crops
from vggface_gender.photos import detect, sources, threads
from vggface_gender.photos.align import align
from vggface_gender.photos.detect import Detected, Finder
from vggface_gender.photos.inputs import Picture
from vggface_gender.photos.sources import Source

# What is said of a face beside its embedding, and what each holds.
OF_PHOTOS = {"name": str, "left": int, "top": int, "right": int, "bottom": int, "score": float}
OF_RECORDS = {"name": str, "gender": str, "race": str, "age": float}
BATCH_SIZE = 64
LEAST_PHOTOS = 256  # in a part
AT_ONCE = 1024  # rows of a dataset that are written at once


class Rows(NamedTuple):
    """Some faces, and what a network gives for them."""

    about: list[tuple]  # of each, what `OF_PHOTOS` or `OF_RECORDS` names; None where not known
    vectors: np.ndarray  # (n, d) float32


class Search(NamedTuple):
    """How faces are found in photos."""

    detector: str  # see `detect.finder`, as the next two
    upsample: int
    threshold: float
    min_face: int = 0  # see `pipeline.answers`
    frame: float | None = None  # see `cut_out`


class Photos(NamedTuple):
    """What came of some photos."""

    rows: list[Rows]
    errors: list[str]  # a line for each that can't be read
    no_face: int  # photos
    small: int  # faces that are left out


def in_parts(
    found: Sequence[Source], out: Path, *, load: features.Load, search: Search
) -> list[Part]:
    """The parts of photos' embeddings; `parts.read` gives `Photos` of each.

    Args:
        out: the table that all are for, beside which the parts lie.
        load: gives the network; can be pickled.
    """
    key = files.digest_of(pickle.dumps([load, search]) + sources.state(found).encode())
    make = functools.partial(_embed, load=load, search=search)
    return parts.divided(found, parts.place(out, key), least=LEAST_PHOTOS, make=make)


def _embed(path: Path, tick: Tick, *, listed: Path, load: features.Load, search: Search) -> None:
    """Make a part."""
    network = features.loaded(load)
    find = detect.finder(search.detector, upsample=search.upsample, threshold=search.threshold)
    seen = cut_out(
        map(sources.picture, parts.read(listed)),
        network,
        find=find,
        min_face=search.min_face,
        frame=search.frame,
    )
    errors, no_face, small = [], 0, 0

    def counted() -> Iterator[Detected]:
        nonlocal no_face, small
        for photo in seen:
            if photo.error:
                errors.append(photo.error)
            no_face += photo.error is None and not photo.faces
            small += photo.small
            tick(1)
            yield photo

    parts.write(Photos(list(of_photos(counted(), network)), errors, no_face, small), path)


def cut_out(
    pictures: Iterable[Picture],
    network: Network,
    *,
    find: Finder,
    min_face: int = 0,
    frame: float | None = None,
) -> Iterator[Detected]:
    """Pictures with the crops of their faces as a network takes them, in order.

    Args:
        find, min_face: see `pipeline.answers`.
        frame: of pictures that are one face's crop already, as `dlib.get_face_chip`'s padding: they
            are brought to the network's. None: they are taken as they are.
    """
    size = network.model.input_shape[1]
    share = 1.0 if frame is None else (1 + 2 * (network.padding or 0)) / (1 + 2 * frame)

    def look(picture: Picture) -> Detected:
        seen = pipeline.detected(picture, find=find, min_face=min_face)
        if seen.photo is None:
            return seen
        one_crop = bool(seen.faces) and all(face.landmarks is None for face in seen.faces)
        if frame is not None and one_crop:
            cut = photo_crops.fit(seen.photo, size, frame=share)[None]
        else:
            cut = align(seen.photo, seen.faces, size=size, padding=network.padding or 0)
        return seen._replace(photo=None, crops=cut)

    count = max(1, min(os.cpu_count() or 1, pipeline.THREADS))
    return threads.ahead(look, pictures, threads=count, depth=pipeline.AHEAD)


def of_photos(photos: Iterable[Detected], network: Network) -> Iterator[Rows]:
    """The embeddings of the faces of photos, a few photos' together.

    Args:
        photos: see `cut_out`.

    Raises:
        InputError: the network gives a number that is not finite.
    """
    about: list[tuple] = []
    waiting: list[np.ndarray] = []
    for photo in photos:
        if photo.crops is None:
            continue
        about += [(photo.name, *face.box, face.score) for face in photo.faces]
        waiting += list(photo.crops)
        if len(waiting) >= BATCH_SIZE:
            yield Rows(about, vectors(np.stack(waiting), network))
            about, waiting = [], []
    if waiting:
        yield Rows(about, vectors(np.stack(waiting), network))


def vectors(crops: np.ndarray, network: Network) -> np.ndarray:
    """What a network gives for crops (n, size, size, 3) `uint8` RGB: (n, d) `float32`.

    Raises:
        InputError: a number is not finite.
    """
    step = min(BATCH_SIZE, features.fitting_batch_size(network.model))
    parts = [
        features.predict(network.model, crops[start : start + step], batch_size=step)
        for start in range(0, len(crops), step)
    ]
    found = np.concatenate(parts).reshape(len(crops), -1)
    if not np.isfinite(found).all():
        raise InputError(
            f"{network.model.name}: gives numbers that are not finite: its weights are damaged, or "
            "it needs --precision float32"
        )
    return found


def of_records(
    dataset: Dataset,
    split: str,
    *,
    network: Network,
    directory: Path,
    engine: Engine = HERE,
    load: features.Load | None = None,
) -> Iterator[Rows]:
    """The embeddings of a dataset's split, with its labels; cached as a training's features are.

    Args:
        directory: where features are cached.
        engine, load: see `features.extract`.

    Raises:
        InputError: see `features.extract`.
    """
    found = features.extract(
        dataset,
        split,
        backbone=network.model,
        padding=network.padding,
        directory=directory,
        engine=engine,
        load=load,
    )
    start = 0
    for truth in records.label_batches(dataset, split, size=AT_ONCE):
        known = truth[list(OF_RECORDS)].astype(object)
        about = known.where(known.notna(), None).itertuples(index=False, name=None)
        rows = found[start : start + len(truth)]
        yield Rows(list(about), rows.reshape(len(rows), -1))
        start += len(truth)


def write(
    parts: Iterable[Rows], path: Path, *, columns: Mapping[str, type], network: Network, **said: Any
) -> int:
    """Write faces and their embeddings, whole or not at all; returns how many.

    - CSV: a line a face: `columns`, empty where not known, then `e0`, `e1`, ..., with nine digits,
      which give back the same `float32`.
    - HDF5: `embeddings` (n, d) `float32`, and a dataset (n,) for each of the columns: text in
      UTF-8, empty where not known; numbers -1 or NaN where not known. Its attributes are what the
      network says of itself, its frame (`padding`), its crops' side (`size`), and `said`.

    Args:
        columns: `OF_PHOTOS` or `OF_RECORDS`.
    """
    width = math.prod(network.model.output_shape[1:])
    about = network.about | {"padding": network.padding, "size": network.model.input_shape[1]}
    count = 0
    with contextlib.ExitStack() as stack:
        part = stack.enter_context(files.whole(path))
        begin = _csv if path.suffix.lower() == ".csv" else _hdf5
        add = stack.enter_context(begin(part, columns, width, about | said))
        for rows in parts:
            add(rows)
            count += len(rows.about)
    return count


@contextlib.contextmanager
def _csv(
    path: Path, columns: Mapping[str, type], width: int, about: Mapping
) -> Iterator[Callable[[Rows], None]]:
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, *(f"e{place}" for place in range(width))])

        def add(rows: Rows) -> None:
            for face, vector in zip(rows.about, rows.vectors, strict=True):
                known = ["" if value is None else value for value in face]
                writer.writerow([*known, *(f"{value:.9g}" for value in vector)])

        yield add


@contextlib.contextmanager
def _hdf5(
    path: Path, columns: Mapping[str, type], width: int, about: Mapping
) -> Iterator[Callable[[Rows], None]]:
    kinds = {str: h5py.string_dtype(), int: "int32", float: "float32"}
    unknown = {str: "", int: -1, float: math.nan}
    with h5py.File(path, "w") as file:
        file.attrs.update({key: value for key, value in about.items() if value is not None})
        file.create_dataset(
            "embeddings", (0, width), "float32", maxshape=(None, width), chunks=(64, width)
        )
        for name, kind in columns.items():
            file.create_dataset(name, (0,), kinds[kind], maxshape=(None,), chunks=(1024,))

        def add(rows: Rows) -> None:
            first, last = len(file["embeddings"]), len(file["embeddings"]) + len(rows.about)
            for name in ("embeddings", *columns):
                file[name].resize(last, axis=0)
            file["embeddings"][first:last] = rows.vectors
            for place, (name, kind) in enumerate(columns.items()):
                values = [face[place] for face in rows.about]
                known = [unknown[kind] if value is None else value for value in values]
                file[name][first:last] = [
                    value.encode("utf-8", "backslashreplace") if isinstance(value, str) else value
                    for value in known
                ]

        yield add
