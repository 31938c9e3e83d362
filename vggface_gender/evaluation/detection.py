"""Faces that detection loses, by group: who never gets as far as a classifier.

The detector is the one that photos go through (`faces.detect`). A record is a crop of one face
already, so it is found if a box holds the picture's middle: a bystander at the edge is not the
face. Two things set this apart from a photograph. The crop's frame cuts away what the detector
looks at around a face, which makes it harder (`bordered` puts something there); and whoever cut the
crop had found the face before, which makes it easier: faces that were lost then are not in the
records at all.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.data import records
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import audit, metrics, predictions
from vggface_gender.evaluation.metrics import CONFIDENCE, GROUPINGS, SMALL
from vggface_gender.photos import crops, faces

FILLS = {"replicate": cv2.BORDER_REPLICATE, "black": cv2.BORDER_CONSTANT}
TRUTH = ["name", *labels.TASKS]
AT_ONCE = 64  # images handed to the threads, so that Ctrl-C waits for no more


def measure(
    dataset: Dataset,
    split: str,
    folder: Path,
    count: int | None = None,
    upsample: int = 1,
    threshold: float = 0.0,
    border: float = 0.0,
    fill: str = "replicate",
) -> dict:
    """How many of a split's faces detection finds, by group.

    Args:
        folder: where the table is kept (see `table` and `file_name`). One of these settings that is
            there already is read, if it is of the same faces and labels and not older than the
            records.
        count: of so many faces, the split's first (TFDS shuffles records as it writes them).
        upsample, threshold: as `faces.detect` takes them.
        border, fill: as `bordered` takes them.

    Returns:
        What `figures` gives, computed from the file, and `table`, its path.
    """
    truth = records.labels(dataset, split)[:count][TRUTH].astype({"age": float})
    settings = {"upsample": upsample, "threshold": threshold, "border": border, "fill": fill}
    part = None if len(truth) == dataset.counts[split] else len(truth)
    place = folder / file_name(dataset.label, split, part, **settings)
    if not _is_there(place, truth, (dataset.directory / "metadata.json").stat().st_mtime):
        images = records.jpegs(dataset, split)[: len(truth)]
        predictions.write(table(truth, images, f"{dataset.label}, {split}", **settings), place)
    return figures(read(place)) | {"table": str(place)}


def file_name(
    dataset: str,
    split: str,
    count: int | None = None,
    upsample: int = 1,
    threshold: float = 0.0,
    border: float = 0.0,
    fill: str = "replicate",
) -> str:
    """The name of a table, which tells the settings that made it."""
    part = "" if count is None else f"-{count}"
    edge = f"-{fill}{border:g}" if border else ""
    return f"detections-{dataset}-{split}{part}-upsample{upsample}-threshold{threshold:g}{edge}.csv"


def table(
    truth: pd.DataFrame,
    images: list[bytes],
    title: str,
    upsample: int = 1,
    threshold: float = 0.0,
    border: float = 0.0,
    fill: str = "replicate",
) -> pd.DataFrame:
    """The detector run on every image, in threads.

    Args:
        truth: (n,) `name`, `gender`, `race`, `age`; None or NaN where a label is missing.
        images: n, in JPEG bytes.
        title: of the progress bar.

    Returns:
        `truth` and `found`, 0 or 1; `score` of the best box that holds the picture's middle, NaN
        where there is none; `boxes`, how many there are anywhere.
    """
    see = partial(_look, upsample=upsample, threshold=threshold, border=border, fill=fill)
    seen = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(images), desc=title, unit=" faces") as bar,
    ):
        for start in range(0, len(images), AT_ONCE):
            seen += pool.map(see, images[start : start + AT_ONCE])
            bar.update(len(seen) - bar.n)
    score = np.array([score for score, _ in seen], float)
    return truth.assign(
        found=(~np.isnan(score)).astype(int),
        score=score,
        boxes=[boxes for _, boxes in seen],
    )


def bordered(photo: np.ndarray, border: float, fill: str) -> np.ndarray:
    """A photo with something around it.

    Args:
        photo: (h, w, 3) `uint8`.
        border: its width on each side, as a share of that side.
        fill: "replicate", which repeats the photo's outermost pixels, or "black".
    """
    down, across = (round(side * border) for side in photo.shape[:2])
    return cv2.copyMakeBorder(photo, down, down, across, across, FILLS[fill])


def figures(frame: pd.DataFrame) -> dict:
    """How many faces are found, from a table, as JSON can hold it.

    Returns:
        `count`; `lost`; the share `found` and its 95% Wilson `interval`; `elsewhere`, of the lost
        those with a box that does not hold the middle; `several`, faces with more boxes than one;
        `groups` by gender, race, age band, and gender x race, each group with `count`, `lost`,
        `found`, `interval`, and `small` where it has under 30 faces; and by grouping, in `gaps`,
        the largest gap in `found` between two that have more (see `audit.gap`).
    """
    keys = metrics.group_keys(frame)
    groups = {
        grouping: {
            ", ".join(key): _shares(found) | {"small": len(found) < SMALL}
            for key, found in frame.found.groupby(
                [keys[column] for column in columns], observed=True, sort=True
            )
        }
        for grouping, columns in GROUPINGS.items()
    }
    return {
        **_shares(frame.found),
        "elsewhere": int(((frame.found == 0) & (frame.boxes > 0)).sum()),
        "several": int((frame.boxes > 1).sum()),
        "groups": groups,
        "gaps": {
            grouping: audit.gap(
                {name: group | {"accuracy": group["found"]} for name, group in members.items()}
            )
            for grouping, members in groups.items()
        },
    }


def report(found: Mapping) -> str:
    """A plain-text report of what `figures` gives."""
    percent = "{:.1%}".format
    interval = f"{CONFIDENCE:.0%} interval"
    rows = [["by", "group", "faces", "lost", "found", interval, ""]]
    for grouping, members in {"": {"all": found}, **found["groups"]}.items():
        rows += [
            [
                grouping,
                name,
                f"{group['count']:,}",
                f"{group['lost']:,}",
                percent(group["found"]),
                "{:.1%} to {:.1%}".format(*group["interval"]),
                "small" if group.get("small") else "",
            ]
            for name, group in members.items()
        ]
    lines = [metrics.aligned(rows, text_columns=(0, 1, 6))]
    if any(row[-1] for row in rows):
        lines.append(f"  small: under {SMALL} faces")
    lines.append("")
    for grouping, gap in found["gaps"].items():
        if gap:
            low, high = gap["interval"]
            held = f", for {gap['pairs']} pairs together" if gap["pairs"] > 1 else ""
            lines.append(
                f"largest gap by {grouping}: {gap['worst']} {gap['difference']:.1%} below "
                f"{gap['best']} ({low:.1%} to {high:.1%}{held})"
            )
    lines.append(
        f"lost, but something found off the middle: {found['elsewhere']:,}; more than one box: "
        f"{found['several']:,}"
    )
    return "\n".join(lines)


def read(path: Path) -> pd.DataFrame:
    """The table in a CSV file, as `table` gives it.

    Raises:
        InputError: it is no such table.
    """
    kinds = {"name": object, "gender": object, "race": object, "age": float}
    kinds |= {"found": int, "score": float, "boxes": int}
    try:
        frame = pd.read_csv(
            path,
            dtype=kinds,
            keep_default_na=False,  # "NA" is text
            na_values={column: [""] for column in ("gender", "race", "age", "score")},
            encoding_errors="surrogateescape",
        )
        frame = frame[[*kinds]]
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{path} is not a table of detections ({first_line(error)}): delete it"
        ) from None
    for column in ("gender", "race"):
        frame[column] = frame[column].astype(object).where(frame[column].notna(), None)
    return frame


def _look(
    jpeg: bytes, upsample: int, threshold: float, border: float, fill: str
) -> tuple[float, int]:
    """The best score of a box that holds the picture's middle (NaN: none); how many boxes."""
    photo = bordered(crops.decode(jpeg), border, fill)
    y, x = (side / 2 for side in photo.shape[:2])
    found = faces.detect(photo, upsample, threshold)
    scores = [
        face.score
        for face in found
        if face.box[0] <= x < face.box[2] and face.box[1] <= y < face.box[3]
    ]
    return max(scores, default=float("nan")), len(found)


def _is_there(place: Path, truth: pd.DataFrame, since: float) -> bool:
    """Whether there is a table, of these faces and labels, and not older than the records."""
    if not place.is_file() or place.stat().st_mtime < since:
        return False
    return read(place)[TRUTH].equals(truth)


def _shares(found: pd.Series) -> dict:
    hits, count = int(found.sum()), len(found)
    return {
        "count": count,
        "lost": count - hits,
        "found": hits / count,
        "interval": metrics.wilson(hits, count),
    }
