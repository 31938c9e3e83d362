"""What a build did: counted for `metadata.json`, hashed for caches, described for people."""

import collections
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import labels, text
from vggface_gender.photos import folders

if TYPE_CHECKING:  # what is built needs OpenCV; what is said of it doesn't
    from vggface_gender.datasets.checks import Checked
    from vggface_gender.datasets.sources import Labelled

REENCODED = "png"  # how a record holds an image whose own bytes it can't: in the fingerprint
LISTED = 10  # of the reasons to leave an image out, those that are named in the text


def summarize(divided: Mapping[str, Sequence["Checked"]], images: Sequence["Checked"]) -> dict:
    """Counts by split and label, sizes, copies and torn people, as JSON.

    Args:
        divided: the records, by split.
        images: all that could be read, also those that are no records.

    Returns:
        `fingerprint` stands for the records' contents, labels and split: features cached from them
        are kept under it.
    """
    return {
        "counts": {split: len(part) for split, part in divided.items()},
        "labels": {split: _count_labels([i.item for i in part]) for split, part in divided.items()},
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


def listing_hash(listed: Iterable["Labelled"]) -> str:
    """A hash of names, labels, and the files' sizes and times: has the source changed since?"""
    return _hash([item.name, *_state(item.image), *item.key] for item in listed)


def describe(name: str, directory: Path, *, summary: Mapping) -> str:
    """The summary of a build, to read."""
    lines = [f"{name}: {sum(summary['counts'].values()):,} records in {directory}"]
    for split, count in summary["counts"].items():
        lines.append(f"  {split} {count:,}")
        for task, counts in summary["labels"][split].items():
            listed = ", ".join(f"{label} {n:,}" for label, n in counts.items())
            lines.append(f"    {task}: {listed}")
    lines += _describe_split(summary)
    sizes = [f"{size} ({n:,})" for size, n in summary["sizes"].items()]
    lines.append(f"  sizes: {text.listed(sizes)}")
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
    return "\n".join(lines)


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
            f"  duplicates: {copies['images']} images of {copies['contents']} contents, each kept "
            f"on one side of the split ({copies['with different labels']} contents with different "
            "labels)"
        )
    if torn := summary["subjects on two sides"]:
        lines.append(
            f"  WARNING: the dataset's own splits put {len(torn)} people on two sides, the first: "
            f"{torn[0]}"
        )
    return lines


def _count_labels(items: Sequence["Labelled"]) -> dict[str, dict[str, int]]:
    return {
        "gender": _count(item.gender for item in items),
        "race": _count(item.race for item in items),
        "age": _count(None if item.age is None else labels.age_band(item.age) for item in items),
    }


def _count(values: Iterable[str | None]) -> dict[str, int]:
    counts = collections.Counter("missing" if value is None else value for value in values)
    bands = labels.AGE_BAND_NAMES
    return {
        label: counts[label]
        for label in sorted(counts, key=lambda x: (bands.index(x) if x in bands else -1, x))
    }


def _size(image: "Checked") -> str:
    return "{}x{}".format(*image.size)


def _count_copies(images: Iterable["Checked"]) -> dict[str, int]:
    """Images whose content another has too."""
    copies = collections.defaultdict(list)
    for image in images:
        copies[image.digest].append(image.item)
    several = [items for items in copies.values() if len(items) > 1]
    return {
        "images": sum(map(len, several)),
        "contents": len(several),
        "with different labels": sum(
            len({(i.gender, i.race, i.age) for i in items}) > 1 for items in several
        ),
    }


def _torn(divided: Mapping[str, Iterable["Checked"]]) -> list[str]:
    """The people who stand in more than one split."""
    sides = collections.defaultdict(set)
    for split, part in divided.items():
        for image in part:
            sides[image.item.subject].add(split)
    return sorted(who for who, of in sides.items() if who is not None and len(of) > 1)


def _state(image: Path | bytes) -> list[int]:
    if isinstance(image, bytes):
        return []
    try:
        stat = image.stat()
    except (OSError, ValueError):  # it is not there, or has a name that no file can have
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _hash(rows: Iterable[list]) -> str:
    return hashlib.blake2b(json.dumps(sorted(rows)).encode(), digest_size=16).hexdigest()
