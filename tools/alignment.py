"""Measure what alignment on the way in is worth: faces as published, and random cut-outs of them.

    python tools/alignment.py --source FACES_DIR/UTKFace --out DIR

Writes two folders of class folders to DIR: UTKFace's faces as published, and each cut out again by
a random box, turned and stretched, as whoever has no aligned faces might have cut it. Evaluates the
classifier on them: the first in their known frame, the second with align auto and with align never.
The figures are computed from the three tables of predictions that it leaves there.
"""

import argparse
import random
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vggface_gender.base import console, device, files, options, runs, text
from vggface_gender.base.errors import InputError
from vggface_gender.base.splits import ALL

if TYPE_CHECKING:
    import numpy as np

SCALE = (0.8, 1.6)  # the box's side, as a share of the published picture's
SHIFT = 0.15  # of the box's side, across and down, either way
STRETCH = 1.3  # of one of its sides, at most
ANGLE = 15.0  # degrees, either way
PUBLISHED, ALIGNED, WHOLE = "as published", "cut out, aligned", "cut out, used whole"


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = options.Parser("alignment", __doc__)
    made.prog = "python tools/alignment.py"
    made.add_argument(
        "--source", type=Path, required=True, metavar="DIR", help="UTKFace's own files"
    )
    made.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a new or empty folder to write to"
    )
    made.add_argument(
        "--count", type=options.positive, default=1000, metavar="N", help="faces, chosen at random"
    )
    made.add_argument(
        "--seed", type=options.seed, default=0, metavar="N", help="of the faces and of their boxes"
    )
    options.add_run_argument(made)
    return made


def main(argv: list[str] | None = None) -> None:
    """Write the two folders, evaluate the classifier on them, and print the figures."""
    arguments = parser().parse_args(argv)
    path, out = runs.find(arguments.run), arguments.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: not an empty folder; give a new one")
    device.start()
    import numpy as np
    from tqdm import tqdm

    from vggface_gender.datasets.utk_face.utk_face_dataset_builder import Builder
    from vggface_gender.evaluation import held_out, intervals, paired, predictions, testing
    from vggface_gender.inference import classifier

    listed = [item for item in Builder.labelled(arguments.source) if item.gender]
    if len(listed) < arguments.count:
        raise InputError(
            f"{arguments.source}: {len(listed):,} faces of UTKFace; give a --count of at most that"
        )
    listed.sort(key=lambda item: item.name)
    chosen = random.Random(arguments.seed).sample(listed, arguments.count)
    with files.aside(out.parent) as aside:
        for number, item in enumerate(tqdm(chosen, desc="cutting out", unit="", leave=False)):
            rng = np.random.default_rng([arguments.seed, number])
            write(Path(item.image), item.gender, rng=rng, folder=aside)
        files.remove(out)
        shutil.move(aside / "faces", out)

    trained = classifier.load(path, precision="float32")
    tables = {}
    for name, folder, how in (
        (PUBLISHED, "published", {"padding": Builder.PADDING, "align": "auto"}),
        (ALIGNED, "cut-outs", {"align": "auto"}),
        (WHOLE, "cut-outs", {"align": "never"}),
    ):
        dataset = held_out.prepare(
            path, str(out / folder), data_dir=out / "tfrecords", seed=0, **how
        )
        table = testing.test(path, trained, dataset=dataset, split=ALL).table
        predictions.write(
            table, out / f"predictions-{name.replace(', ', '-').replace(' ', '-')}.csv"
        )
        tables[name] = paired.values(table.set_index("name").sort_index(), "gender")
    before, rows = tables[PUBLISHED], []
    for name, right in tables.items():
        changed = paired.change(before, right)
        rows.append(
            [
                name,
                f"{len(right):,}",
                text.percent(right.mean()),
                text.interval(intervals.wilson(right.sum(), len(right)).tolist()),
                "" if name == PUBLISHED else f"{changed['difference'] * 100:+.1f} points",
                "" if name == PUBLISHED else text.interval(changed["interval"]),
            ]
        )
    header = ["faces", "count", "gender accuracy", "95% interval", "change", "95% interval"]
    print(f"\n{text.table(header, rows, text_columns=1)}")


def write(image: Path, gender: str, *, rng: "np.random.Generator", folder: Path) -> None:
    """Write a face as published, and cut out by a random box, into the class folders of both."""
    from vggface_gender.photos import crops

    content = image.read_bytes()
    again = crops.to_jpeg(cut_out(crops.decode(content), rng=rng))
    for kind, file in (("published", content), ("cut-outs", again)):
        place = folder / "faces" / kind / gender / f"{image.name.split('.')[0]}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file)


def cut_out(image: "np.ndarray", *, rng: "np.random.Generator") -> "np.ndarray":
    """What a random box holds of a picture; where it reaches beyond, outermost pixels are repeated.

    Args:
        image: (h, w, 3) `uint8` RGB.

    Returns:
        (h', w', 3) `uint8` RGB: a pixel of the box is one of the picture, or, along the side that
        is stretched, less.
    """
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    side = min(height, width) * rng.uniform(*SCALE)
    shift = rng.uniform(-SHIFT, SHIFT, 2) * side
    angle = np.deg2rad(rng.uniform(-ANGLE, ANGLE))
    stretch = np.ones(2)
    stretch[rng.integers(2)] = rng.uniform(1, STRETCH)
    size = np.rint(side * stretch).astype(int)
    # From a pixel of the box back to the picture, both counted from their middles.
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = turned / stretch
    offset = np.array([width, height]) / 2 - 0.5 + shift - back @ (size / 2 - 0.5)
    return cv2.warpAffine(
        image,
        np.column_stack([back, offset]),
        (int(size[0]), int(size[1])),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


if __name__ == "__main__":
    sys.exit(console.run(main))
