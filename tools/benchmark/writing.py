"""Writing a dataset's records against a bare loop over the same files."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmark import faces
from benchmark.report import Row
from benchmark.timing import hushed, in_turns


def measure(folder: Path, *, work: Path, repeats: int) -> list[Row]:
    """All but the libraries' import is counted.

    Args:
        folder: of UTKFace's images.
        work: a folder to write to.
    """
    from vggface_gender import datasets

    paths = faces.images(folder)

    def build() -> None:
        with tempfile.TemporaryDirectory(dir=work) as data_dir, hushed():
            datasets.prepare("UTKFace", folder, data_dir=data_dir)

    def copy() -> None:
        with tempfile.TemporaryDirectory(dir=work) as to:
            bare_loop(paths, Path(to, "bare.tfrecord"))

    return [
        Row(
            name="records",
            ours=f"datasets.prepare, {len(paths):,} files: list, check, hash, split, write "
            "8 shards a split",
            reference="a loop that reads, hashes (blake2b) and writes the same files",
            unit="s",
            goal="at most 12",
            pairs=[
                (theirs, ours)
                for theirs, ours in in_turns("records", (copy, build), repeats=repeats)
            ],
        )
    ]


def bare_loop(paths: Sequence[Path], to: Path) -> list[str]:
    """The least that writing records takes: read, hash and write every file; returns the hashes."""
    import tensorflow as tf

    hashes = []
    with tf.io.TFRecordWriter(str(to)) as writer:
        for path in paths:
            content = path.read_bytes()
            hashes.append(hashlib.blake2b(content, digest_size=16).hexdigest())
            writer.write(content)
    return hashes
