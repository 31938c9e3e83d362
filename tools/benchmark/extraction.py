"""Records to features, end to end, against the two things that this can't do without."""

import os
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import decoding
from benchmark.report import Row
from benchmark.timing import BATCH_SIZE, exhaust, forward, hushed, in_turns, vgg16

if TYPE_CHECKING:
    import keras

    from vggface_gender.datasets import Dataset

CORES = os.cpu_count() or 1


def measure(folder: Path, *, work: Path, repeats: int) -> list[Row]:
    """Of dlib's network and of VGG-16.

    Both parts take all cores, so the least time that the whole can take is their sum.

    Args:
        folder: of UTKFace's images.
        work: a folder to write to.
    """
    from vggface_gender import backbones, datasets
    from vggface_gender.base import device

    with hushed():
        dataset = datasets.prepare("UTKFace", folder, data_dir=work / "tfrecords")
    precision = device.precision()
    # VGG-16 takes far longer a crop, so it is given a smaller part of the records, in batches as
    # much smaller: a last one that is mostly empty would weigh on the few.
    networks = (
        ("dlib", backbones.load("dlib", precision=precision), "train", BATCH_SIZE),
        ("VGG-16", vgg16(precision), "validation", BATCH_SIZE // 8),
    )
    return [
        _row(f"extraction, {name}", backbone, dataset, split, batch_size, work, repeats)
        for name, backbone, split, batch_size in networks
    ]


def _row(
    title: str,
    backbone: "keras.Model",
    dataset: "Dataset",
    split: str,
    batch_size: int,
    work: Path,
    repeats: int,
) -> Row:
    import numpy as np

    from vggface_gender.data import features, records

    size = backbone.input_shape[1]
    jpegs = records.jpegs(dataset, split)
    images = np.concatenate(list(decoding.with_opencv(jpegs, size)))

    def decode() -> None:
        shares = [jpegs[start::CORES] for start in range(CORES)]
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(lambda share: exhaust(decoding.with_opencv(share, size)), shares))

    def extract() -> None:
        with tempfile.TemporaryDirectory(dir=work) as cache, hushed():
            features.extract(
                dataset,
                split,
                backbone=backbone,
                padding=None,
                directory=Path(cache),
                batch_size=batch_size,
            )

    passes = forward(backbone, images, batch_size=batch_size)
    turns = in_turns(title, (passes, decode, extract), repeats=repeats)
    parts = ("forward passes alone", "decoding alone", "end to end")
    return Row(
        name=title,
        ours=f"features.extract: {len(jpegs):,} records to features on disk",
        reference="their forward passes in memory, then decoding and resizing them on all cores",
        unit="images/s",
        goal="at least 0.9",
        pairs=[
            (len(jpegs) / (passing + decoding), len(jpegs) / whole)
            for passing, decoding, whole in turns
        ],
        parts=dict(zip(parts, map(statistics.median, zip(*turns, strict=True)), strict=True)),
    )
