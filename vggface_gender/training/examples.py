"""The examples of a split of a mix, and where their images and features lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from vggface_gender.base.errors import InputError
from vggface_gender.data import augmentation, batches, features, records, sampling, targets
from vggface_gender.data.augmentation import Amounts
from vggface_gender.data.features import Wanted
from vggface_gender.datasets import mixes
from vggface_gender.datasets.mixes import Mix


@dataclass(frozen=True)
class Examples:
    """A split of a mix, its datasets' images one after the other; those without any label left out.

    Every array and table has n rows.
    """

    mix: Mix
    split: str
    truth: pd.DataFrame  # see `records.labels`
    part: np.ndarray  # the dataset's place in the mix
    row: np.ndarray  # the image's place in the dataset's split
    targets: dict[str, np.ndarray]  # see `targets.targets`
    weights: dict[str, np.ndarray]  # what each counts for in each task's loss

    def __len__(self) -> int:
        return len(self.truth)

    def crops(self, size: int, *, padding: float, amounts: Amounts | None) -> batches.Reader:
        """A reader of the images as crops, augmented or not (see `batches.read_crops`)."""
        known = [
            records.jpegs(part.dataset, self.split) if part.dataset.counts.get(self.split) else []
            for part in self.mix.parts
        ]
        images = [known[part][row] for part, row in zip(self.part, self.row, strict=True)]
        frames = np.array([records.frame_of(part.dataset, padding) for part in self.mix.parts])
        return batches.read_crops(images, frames[self.part], size=size, amounts=amounts)

    def features(
        self,
        backbone: keras.Model,
        *,
        padding: float,
        cache: Path,
        views: int | None = None,
        amounts: Amounts = augmentation.NONE,
        dtype: str | None = None,
    ) -> batches.Reader:
        """A reader of the images' features, cached first where they are not (`features.extract`).

        Args:
            views: how many augmented copies of each image to draw from; None for the image itself.
        """
        arrays = [
            [
                features.extract(
                    dataset,
                    split,
                    backbone=backbone,
                    padding=padding,
                    directory=cache,
                    view=view,
                    amounts=amounts,
                    dtype=dtype,
                )
                for dataset, split, view in wanted
            ]
            for wanted in self.wanted(views)
        ]
        places = np.unique(self.part, return_inverse=True)[1]
        return batches.read_features(arrays, part=places, row=self.row)

    def wanted(self, views: int | None = None) -> list[list[Wanted]]:
        """What `features` extracts: for each view, one for each dataset that has images here."""
        datasets = [self.mix.parts[part].dataset for part in np.unique(self.part)]
        return [
            [Wanted(dataset, self.split, view) for dataset in datasets]
            for view in ([None] if views is None else range(views))
        ]


def examples(
    mix: Mix, split: str, *, tasks: Mapping[str, tuple[str, ...]], group_loss: str | None = None
) -> Examples:
    """A split's examples; in training the weights of datasets and of groups are multiplied in.

    Args:
        tasks: task to label names.
        group_loss: see `sampling.group_weights`.

    Raises:
        InputError: nothing in the split has a label of a task, or a dataset has nothing to train
            on.
    """
    tables = []
    for place, part in enumerate(mix.parts):
        if split not in part.dataset.counts:
            if split == "train":
                raise InputError(f"{part.dataset.name} has too few images to train on")
            continue  # as a table of pseudo-labels, which has nothing but a train split
        table = records.labels(part.dataset, split)
        first, last = mixes.rows(part, split, count=len(table))
        tables.append(table.iloc[first:last].assign(part=place, row=np.arange(first, last)))
    truth = pd.concat(tables, ignore_index=True)
    wanted, weights = targets.targets(truth, tasks)
    for task, known in weights.items():
        if not known.any():
            raise InputError(f"{mix.name} has no {task} labels in its {split} split")
    labelled = np.any([known > 0 for known in weights.values()], axis=0)
    truth = truth[labelled].reset_index(drop=True)
    part, row = truth.pop("part").to_numpy(), truth.pop("row").to_numpy()
    weights = {task: known[labelled] for task, known in weights.items()}
    if split == "train":
        by_part = np.array([part.weight for part in mix.parts], np.float32)[part]
        by_group = sampling.group_weights(truth, group_loss) if group_loss else np.float32(1)
        weights = {task: known * by_part * by_group for task, known in weights.items()}
    wanted = {task: values[labelled] for task, values in wanted.items()}
    return Examples(mix, split, truth, part, row, wanted, weights)


def sampled_crops(
    mix: Mix,
    *,
    count: int,
    copies: int,
    size: int,
    padding: float,
    amounts: Amounts,
    seed: int,
) -> np.ndarray:
    """Some of a mix's training crops, drawn at random, each followed by augmented copies of it.

    Args:
        count: crops; at most all there are.
        copies: of each.
        size, padding, amounts: of the crops (see `data.batches.read_crops`).

    Returns:
        (count * (1 + copies), size, size, 3) `uint8` RGB.
    """
    rng = np.random.default_rng(seed)
    images, frames = [], []
    for part in mix.parts:
        its = records.jpegs(part.dataset, "train")
        images += its
        frames += [records.frame_of(part.dataset, padding)] * len(its)
    chosen = rng.choice(len(images), min(count, len(images)), replace=False)
    columns = [
        batches.read_crops(images, np.array(frames), size=size, amounts=each)(chosen, rng)
        for each in [None] + [amounts] * copies
    ]
    return np.stack(columns, axis=1).reshape(-1, size, size, 3)
