"""Faces that detection misses, by group: who never gets as far as a classifier.

The detectors are those that photos go through (`photos.detect`). A record is a crop of one face
already, so it is found if a box holds the picture's middle: a bystander at the edge is not the
face. Two things set this apart from a photograph. The crop's frame cuts away what the detector
looks at around a face, which makes it harder (`bordered` puts something there); and whoever cut the
crop had found the face before, which makes it easier: faces that were missed then are not in the
records at all.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from vggface_gender.base import text
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import records
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import groups, intervals, metrics, predictions, provenance
from vggface_gender.evaluation.intervals import CONFIDENCE
from vggface_gender.photos import crops, detect

FILLS = {"replicate": cv2.BORDER_REPLICATE, "black": cv2.BORDER_CONSTANT}
AT_ONCE = 64  # images handed to the threads, so that Ctrl-C waits for no more
VERSION = 2  # raised where the same records and settings come to give another table


class Settings(TypedDict):
    """How detection is run: see `measure`."""

    detector: str
    upsample: int
    threshold: float
    border: float
    fill: str


def measure(
    dataset: Dataset,
    *,
    split: str,
    folder: Path,
    count: int | None = None,
    detector: str = "auto",
    upsample: int = 1,
    threshold: float = 0.0,
    border: float = 0.0,
    fill: str = "replicate",
) -> dict:
    """How many of a split's faces detection finds, by group.

    Args:
        folder: where the table is kept (see `table` and `file_name`). One that was made from the
            same records with the same settings is read in place of detecting again.
        count: of so many faces, the split's first (TFDS shuffles records as it writes them).
        detector, upsample, threshold: as `detect.detect` takes them.
        border, fill: as `bordered` takes them.

    Returns:
        What `figures` gives, computed from the file; `table`, its path; and `detector`, the one
        that "auto" stands for.
    """
    detector = detect.chosen(detector)
    count = None if count is None or count >= dataset.count(split) else count
    settings: Settings = {
        "detector": detector,
        "upsample": upsample,
        "threshold": threshold,
        "border": border,
        "fill": fill,
    }
    made_by = {
        "records": dataset.fingerprint,
        "split": split,
        "count": count,
        "detection": settings,
        "version": VERSION,
    }
    name = file_name("{}", split, count=count, **settings)
    place = provenance.place(folder, name, dataset=dataset, made_by=made_by)
    if not provenance.is_current(place, made_by):
        truth = records.labels(dataset, split)[:count][["name", *TASKS]]
        images = records.jpegs(dataset, split)[:count]
        found = table(truth, images, title=f"{dataset.label}, {split}", **settings)
        predictions.write(found, place, made_by=made_by)
    return figures(read(place)) | {"table": str(place), "detector": detector}


def file_name(
    dataset: str,
    split: str,
    *,
    count: int | None = None,
    detector: str = "auto",
    upsample: int = 1,
    threshold: float = 0.0,
    border: float = 0.0,
    fill: str = "replicate",
) -> str:
    """The name of a table, which names the settings that made it."""
    part = "" if count is None else f"-{count}"
    edge = f"-{fill}{border:g}" if border else ""
    searched = f"{detect.chosen(detector)}-upsample{upsample}-threshold{threshold:g}"
    return f"detections-{dataset}-{split}{part}-{searched}{edge}.csv"


def table(
    truth: pd.DataFrame,
    images: Sequence[bytes],
    *,
    title: str,
    detector: str = "auto",
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
    see = partial(
        look,
        detector=detector,
        upsample=upsample,
        threshold=threshold,
        border=border,
        fill=fill,
    )
    seen: list[tuple[float, int]] = []
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


def look(
    jpeg: bytes, *, detector: str, upsample: int, threshold: float, border: float, fill: str
) -> tuple[float, int]:
    """The best score of a box that holds the picture's middle (NaN: none); how many boxes.

    Args:
        jpeg: an image's bytes.
        detector, upsample, threshold: as `detect.detect` takes them.
        border, fill: as `bordered` takes them.
    """
    photo = bordered(crops.decode(jpeg), border, fill=fill)
    y, x = (side / 2 for side in photo.shape[:2])
    found = detect.detect(photo, detector=detector, upsample=upsample, threshold=threshold)
    scores = [
        face.score
        for face in found
        if face.score is not None
        and face.box[0] <= x < face.box[2]
        and face.box[1] <= y < face.box[3]
    ]
    return max(scores, default=float("nan")), len(found)


def bordered(photo: np.ndarray, border: float, *, fill: str) -> np.ndarray:
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
        `count`; `missed`; the `detection_rate` and its 95% Wilson `interval`; `elsewhere`, of the
        missed faces those with a box that does not hold the middle; `several`, faces with more
        boxes than one; `groups` by gender, race, age band, and gender x race, each group with
        `count`, `missed`, `detection_rate`, `interval` and `small`; `ungrouped`, the same of the
        faces in no group; and by grouping, in `gaps`, the
        largest gap in the detection rate (see `groups.gap`).
    """
    found = frame["found"].to_numpy()
    by_group = groups.by_group(frame, lambda rows: _rate(found[rows]))
    return {
        "count": len(frame),
        **_rate(found),
        "elsewhere": int(((found == 0) & (frame["boxes"] > 0)).sum()),
        "several": int((frame["boxes"] > 1).sum()),
        "groups": by_group,
        "ungrouped": groups.ungrouped(frame, lambda rows: _rate(found[rows])),
        "gaps": {
            grouping: groups.gap(members, score="detection_rate")
            for grouping, members in by_group.items()
        },
    }


def _rate(found: np.ndarray) -> dict:
    hits, count = int(found.sum()), len(found)
    interval = intervals.wilson(hits, count).tolist()
    return {"missed": count - hits, "detection_rate": hits / count, "interval": interval}


def report(found: Mapping) -> str:
    """A plain-text report of what `figures` gives."""
    known = groups.with_unknown(found["groups"], found["ungrouped"])
    rows = [
        [
            grouping,
            name,
            f"{group['count']:,}",
            f"{group['missed']:,}",
            text.percent(group["detection_rate"]),
            text.interval(group["interval"]),
            "small" if group.get("small") else "",
        ]
        for grouping, members in ({"": {"all": found}} | known).items()
        for name, group in members.items()
    ]
    header = ["by", "group", "faces", "missed", "detection rate", f"{CONFIDENCE:.0%} interval", ""]
    drawn = text.table(header, rows, text_columns=2) + metrics.small_note(row[-1] for row in rows)
    elsewhere = (
        f"missed, but something found off the middle: {found['elsewhere']:,}; more than one box: "
        f"{found['several']:,}"
    )
    absent = groups.describe_missing(found["groups"])
    drawn += f"\n  {absent}" if absent else ""
    return "\n".join([drawn, "", *groups.describe_gaps(found["gaps"]), elsewhere])


def compared(found: Sequence[Mapping]) -> str:
    """Datasets, detectors and borders side by side: what was missed, and the largest gap by race.

    Args:
        found: what `measure` gives, each with its `dataset`, `border` and `fill`.
    """
    rows = []
    for one in found:
        gap = one["gaps"].get("race")
        rows.append(
            [
                one["dataset"],
                one["detector"],
                f"{one['fill']} {one['border']:g}" if one["border"] else "none",
                f"{one['count']:,}",
                f"{one['missed']:,}",
                text.percent(one["detection_rate"]),
                f"{gap['worst']}, {gap['best']}: {text.percent(gap['difference'])}" if gap else "-",
            ]
        )
    header = ["dataset", "detector", "border", "faces", "missed", "rate", "largest gap by race"]
    return text.table(header, rows, text_columns=3)


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
