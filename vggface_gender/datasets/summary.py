"""What a build did: counted for `metadata.json`, hashed for caches, described for people."""

import collections
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import labels, text
from vggface_gender.base.packed import in_order
from vggface_gender.base.tasks import CLASSIFICATION
from vggface_gender.datasets import sources
from vggface_gender.photos import folders

if TYPE_CHECKING:  # what is built needs OpenCV; what is said of it doesn't
    from vggface_gender.datasets.checks import Checked
    from vggface_gender.datasets.sources import Labelled, Unread

REENCODED = "png"  # how a record holds an image whose own bytes it can't: in the fingerprint
LISTED = 10  # of the reasons to leave an image out, those that are named in the text
LONGEST_LINE = 500
FEW_FACES = 30  # of fewer, a share's 95% interval is wider than 35 points
FEW_OF_CLASS = 10  # of fewer, one face is more than 10 points of the class's recall


def summarize(divided: Mapping[str, Collection["Checked"]], images: Collection["Checked"]) -> dict:
    """Counts by split and label, sizes, copies and torn people, as JSON.

    Args:
        divided: the records, by split.
        images: all that could be read, also those that are no records.

    Returns:
        `fingerprint` stands for the records' contents, labels and split: features cached from them
        are kept under it. `too small` is of `too_small`; `persons` counts subjects by split, and
        is 0 where the dataset names none.
    """
    counts = {split: len(part) for split, part in divided.items()}
    counted = {split: _count_labels(part) for split, part in divided.items()}
    return {
        "counts": counts,
        "labels": counted,
        "too small": too_small(counts, counted),
        "persons": {split: _count_persons(part) for split, part in divided.items()},
        "sizes": dict(collections.Counter(_size(image) for image in images).most_common()),
        "duplicates": _count_copies(images),
        "subjects on two sides": _torn(divided),
        "reencoded": sum(not image.is_plain for image in images),
        "fingerprint": _hash(
            [split, image.digest, *([] if image.is_plain else [REENCODED]), *image.item.key]
            for split, part in divided.items()
            for image in part
        ),
    }


def aligned(summary: Mapping, *, made_with: Mapping) -> dict:
    """The summary of records whose faces are cut out, before any is.

    Args:
        made_with: the settings that faces are cut with, the frame's `padding` among them.

    Returns:
        With another fingerprint and the common frame; and `alignment`: the `settings`, how
        many faces were `aligned`, and the names of those images that are used `whole`.
    """
    return {
        **summary,
        "padding": made_with["padding"],
        "reencoded": 0,
        "fingerprint": _hash([[summary["fingerprint"]], ["aligned", json.dumps(made_with)]]),
        "alignment": {"settings": dict(made_with), "aligned": 0, "whole": []},
    }


def listing_hash(listed: Iterable["Labelled"], *, with_splits: bool = False) -> str:
    """A hash of names, labels, and the files' sizes and times: has the source changed since?

    Args:
        with_splits: whether the images' splits are in it too, where they have some. (Of a dataset
            whose names show them, that would say the same twice.)
    """

    def row(item: "Labelled") -> list:
        split = [f"split {item.split}"] if with_splits and item.split else []
        predicted = ["predicted"] if item.is_predicted else []
        return [item.name, *_state(item.image), *item.key, *split, *predicted]

    return _hash(map(row, listed))


def count_unread(unread: Iterable["Unread"]) -> dict[str, dict]:
    """How often each label that is not understood is there, and where first."""
    counts: dict[str, dict] = {}
    for label in unread:
        key = f"{label.task} {label.text!r}"
        counts.setdefault(key, {"count": 0, "first": label.where})["count"] += 1
    return counts


def too_small(counts: Mapping[str, int], counted: Mapping[str, Mapping]) -> list[str]:
    """What of validation and test is too small for figures to mean anything, to read.

    That is a split of fewer than `FEW_FACES` faces, or one with fewer than `FEW_OF_CLASS` of a
    gender or race that the dataset has.

    Args:
        counts: records by split.
        counted: counts of labels by split and task, as `summarize` gives them.
    """
    found = []
    for split in ("validation", "test"):
        if split not in counts:
            continue
        if counts[split] < FEW_FACES:
            found.append(f"{split} has {counts[split]} faces, fewer than {FEW_FACES}")
            continue
        for task in CLASSIFICATION:
            known = {label for its in counted.values() for label in its[task]} - {"missing"}
            few = {name: counted[split][task].get(name, 0) for name in sorted(known)}
            few = {name: count for name, count in few.items() if count < FEW_OF_CLASS}
            if few:
                named = text.listed([f"{name} {count}" for name, count in few.items()], 10)
                found.append(f"{split} has fewer than {FEW_OF_CLASS} of a {task}: {named}")
    return found


def head(name: str, directory: Path, *, summary: Mapping) -> str:
    """How many records there are, and where, to read."""
    return f"{name}: {sum(summary['counts'].values()):,} records in {directory}"


def warnings(summary: Mapping) -> list[str]:
    """A line for whatever is too small (see `too_small`)."""
    return [f"  WARNING: {what}" for what in too_small(summary["counts"], summary["labels"])]


def describe(name: str, directory: Path, *, summary: Mapping) -> str:
    """The summary of a build, to read."""
    lines = [head(name, directory, summary=summary)]
    for split, count in summary["counts"].items():
        persons = summary.get("persons", {}).get(split)
        lines.append(f"  {split} {count:,}" + (f" of {_people(persons)}" if persons else ""))
        for task, counts in summary["labels"][split].items():
            listed = ", ".join(f"{label} {n:,}" for label, n in counts.items())
            lines.append(f"    {task}: {listed}")
    lines += _describe_split(summary)
    lines += warnings(summary)
    lines += _describe_unread(summary.get("not understood", {}))
    sizes = [f"{size} ({n:,})" for size, n in summary["sizes"].items()]
    lines.append(f"  sizes: {text.listed(sizes)}")
    frame = summary["padding"]
    shown = "not known, so crops are used as they are" if frame is None else f"padding {frame:.3g}"
    lines.append(f"  frame: {shown}")
    if alignment := summary.get("alignment"):  # records of images as they are lack it
        lines.append(_describe_alignment(alignment))
    lines += _describe_copies(summary)
    if summary["reencoded"]:
        lines.append(f"  encoded anew as upright PNG: {summary['reencoded']:,}")
    if summary["skipped"]:
        lines.append(f"  left out: {len(summary['skipped']):,}")
        lines += [f"    {line}" for line in reasons(summary["skipped"])]
        lines.append(f"    all are listed in {directory / 'metadata.json'}")
    if unused := summary.get("unused"):  # records of earlier versions lack it
        lines += ["  not used, of what else lies there:"]
        lines += [f"    {line}" for line in folders.describe(unused)]
    lines += [f"  note: {note}" for note in summary["notes"]]
    return "\n".join(text.shortened(line, LONGEST_LINE) for line in lines)


def _describe_alignment(alignment: Mapping) -> str:
    """How many faces were found: "aligned: 998 by cnn; no face found, used whole: 2 (a, b)"."""
    line = f"  aligned: {alignment['aligned']:,} by {alignment['settings']['detector']}"
    if whole := alignment["whole"]:
        line += f"; no face found, used whole: {len(whole):,} ({text.listed(whole)})"
    return line


def _describe_unread(unread: Mapping[str, Mapping]) -> list[str]:
    if not unread:
        return []
    total = sum(label["count"] for label in unread.values())
    lines = [f"  not understood, so missing: {total:,} labels"]
    for name, label in list(unread.items())[:LISTED]:
        lines.append(f"    {name}: {label['count']:,} (first: {label['first']})")
    if len(unread) > LISTED:
        lines.append(f"    and {len(unread) - LISTED:,} others")
    return lines


def reasons(skipped: Mapping[str, str]) -> list[str]:
    """Why images were left out: "zero bytes: 2 (a.jpg, b.jpg)", the most frequent reasons first."""
    by_reason: dict[str, list[str]] = {}
    for name, why in skipped.items():
        by_reason.setdefault(why, []).append(name)
    ordered = sorted(by_reason.items(), key=lambda pair: -len(pair[1]))
    return [f"{why}: {len(names):,} ({text.listed(names)})" for why, names in ordered[:LISTED]]


def _describe_split(summary: Mapping) -> list[str]:
    lines = []
    if fold := summary.get("fold"):
        whose = "its own folds" if fold["own"] else f"folds drawn with seed {summary['seed']}"
        lines.append(f"  fold: {fold['test']} of {fold['of']} is the test split ({whose})")
    drawn = " and ".join(summary["drawn"])
    how = f"{drawn} drawn with seed {summary['seed']}" if drawn else "as the dataset has it"
    return [*lines, f"  split: {how}"]


def _describe_copies(summary: Mapping) -> list[str]:
    """Equal images, and people whom the dataset's own splits put on two sides."""
    lines, copies = [], summary["duplicates"]
    if copies["images"]:
        lines.append(
            f"  duplicates: {copies['images']:,} images show {copies['contents']:,} different "
            f"pictures, each kept on one side of the split ({copies['with different labels']:,} of "
            "these with different labels)"
        )
    if torn := summary["subjects on two sides"]:
        lines.append(
            f"  WARNING: the dataset's own splits put {len(torn)} people on two sides, the first: "
            f"{torn[0]}"
        )
    return lines


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"


def _count_persons(part: Iterable["Checked"]) -> int:
    return len({image.item.subject for image in part} - {None})


def _count_labels(images: Iterable["Checked"]) -> dict[str, dict[str, int]]:
    counts: dict[str, collections.Counter] = {task: collections.Counter() for task in labels.TASKS}
    for image in images:
        item = image.item
        band = None if item.age is None else labels.age_band(item.age)
        for task, label in zip(labels.TASKS, (item.gender, item.race, band), strict=True):
            counts[task]["missing" if label is None else label] += 1
    bands = labels.AGE_BAND_NAMES
    return {
        task: {
            label: its[label]
            for label in sorted(its, key=lambda x: (bands.index(x) if x in bands else -1, x))
        }
        for task, its in counts.items()
    }


def _size(image: "Checked") -> str:
    return "{}x{}".format(*image.size)


def _count_copies(images: Collection["Checked"]) -> dict[str, int]:
    """Images whose content another has too."""
    import numpy as np  # here: what is said of a build needs neither it nor SciPy

    from vggface_gender.datasets.splits import digests

    found, counts = np.unique(digests(images), return_counts=True)
    several: dict[str, set] = {each.decode(): set() for each in found[counts > 1]}
    for image in images:
        if image.digest in several:
            item = image.item
            several[image.digest].add((item.gender, item.race, item.age))
    return {
        "images": int(counts[counts > 1].sum()),
        "contents": len(several),
        "with different labels": sum(len(said) > 1 for said in several.values()),
    }


def _torn(divided: Mapping[str, Iterable["Checked"]]) -> list[str]:
    """The people who stand in more than one split."""
    sides = collections.defaultdict(set)
    for split, part in divided.items():
        for image in part:
            if image.item.subject is not None:
                sides[image.item.subject].add(split)
    return sorted(who for who, of in sides.items() if len(of) > 1)


def _state(image: str | bytes) -> list[int]:
    stat = sources.stat_of(image) if isinstance(image, str) else None
    return [stat.st_size, stat.st_mtime_ns] if stat else []


def _hash(rows: Iterable[list]) -> str:
    made, separator = hashlib.blake2b(b"[", digest_size=16), ""
    for row in in_order(rows):  # as `json.dumps` of all, whose text would be long
        made.update(f"{separator}{json.dumps(row)}".encode())
        separator = ", "
    made.update(b"]")
    return made.hexdigest()
