"""A dataset's records as they lie on disk: whether they are whole, by names and sizes alone."""

from pathlib import Path
from types import NoneType
from typing import Any

from vggface_gender.base import state
from vggface_gender.base.errors import InputError

METADATA = "metadata.json"
_FORMS: dict[str, state.Form] = {
    METADATA: {
        "counts": dict,
        "labels": dict,
        "fingerprint": str,
        "padding": (int, float, NoneType),
        "listing": str,
    },
    "features.json": {"pythonClassName": str},
    "dataset_info.json": {"name": str, "splits": list},
}
_FRAMING = 16  # bytes of lengths and checksums that a TFRecord file has around each record


def read(directory: Path) -> dict[str, Any]:
    """What the build of the records wrote about them, once their files are known to be there.

    A file's content is not read: damage within a shard is found by its checksums (`data.records`).

    Raises:
        InputError: a file is missing, empty, cut or not what it should be; the records' folder and
            the file are named.
    """
    found = {name: state.read(directory / name, form) for name, form in _FORMS.items()}
    summary, info = found[METADATA], found["dataset_info.json"]
    try:
        problem = _problem(directory, summary["counts"], info)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"dataset_info.json: {error!r}"
    if problem:
        raise InputError(f"{directory} is damaged ({problem})")
    return summary


def _problem(directory: Path, counts: dict[str, int], info: dict) -> str | None:
    """What is wrong with the shards; None where nothing is."""
    shards = {split["name"]: split for split in info["splits"]}
    if shards.keys() != counts.keys():
        return f"dataset_info.json has the splits {', '.join(shards) or 'none'}"
    for name, split in shards.items():
        lengths = [int(length) for length in split["shardLengths"]]
        if sum(lengths) != counts[name]:
            return f"dataset_info.json has {sum(lengths)} records in {name}"
        size = 0
        for number in range(len(lengths)):
            place = f"{info['name']}-{name}.tfrecord-{number:05d}-of-{len(lengths):05d}"
            if not (directory / place).is_file():
                return f"no {place}"
            size += (directory / place).stat().st_size
        expected = int(split["numBytes"]) + _FRAMING * counts[name]
        if size != expected:
            return f"the files of {name} have {size:,} bytes, and should have {expected:,}"
    return None
