"""Show where in a face a classifier's answers come from: Grad-CAM overlays and their averages.

    python tools/gradcam.py --run RUN --dataset UTKFace --task gender

Writes two pictures: overlays on faces told rightly and wrongly, and the published kind of figure,
the average face and the average map of every gender and race, for right and for wrong answers.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import console, files, labels, options, runs
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from vggface_gender.datasets import Dataset
    from vggface_gender.inference.classifier import Classifier

BATCH = 64
COLUMNS = ["right", "wrong"]
EXAMPLES = 8  # faces of each kind
AGE_OFF = 10  # years from which on an age counts as wrong


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(prog="python tools/gradcam.py", description=__doc__.splitlines()[0])
    parser.add_argument("--run", metavar="RUN", help="as evaluate's (default: the package's own)")
    options.add_dataset_arguments(parser)
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument("--task", choices=labels.TASKS, default="gender")
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="of the backbone (default: its last map of 3 rows and columns or more)",
    )
    parser.add_argument(
        "--align",
        action="store_true",
        help="find each face in its picture and align it first, so that averages are faces where "
        "the dataset's own pictures are not aligned; what is not found is left out",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the pictures go (default: the run's folder)"
    )
    parser.set_defaults(split_seed=None)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    path = runs.find(arguments.run)

    from vggface_gender.base import device

    device.start()
    from PIL import Image

    from vggface_gender import datasets
    from vggface_gender.data import records
    from vggface_gender.datasets import mixes
    from vggface_gender.evaluation import gradcam
    from vggface_gender.inference import classifier

    trained = classifier.load(path)
    if arguments.task not in trained.tasks:
        raise InputError(
            f"the classifier does not tell {arguments.task}: {', '.join(trained.tasks)}"
        )
    division = mixes.division(path, arguments.dataset, arguments.split_seed)
    dataset = datasets.prepare(**options.dataset_arguments(arguments) | division)
    dataset.require(arguments.split)
    examples: dict[str, list] = {column: [] for column in COLUMNS}

    def explained() -> Iterator[tuple]:
        found = explain(
            trained, dataset, arguments.split, arguments.task, arguments.layer, arguments.align
        )
        for crops, maps, keys in found:
            for crop, heat, key in zip(crops, maps, keys, strict=True):
                if key and len(examples[key[-1]]) < 2 * EXAMPLES:
                    examples[key[-1]] += [crop, gradcam.overlay(crop, heat)]
            yield crops, maps, keys

    cells = gradcam.averages(explained())
    rows = groups(cells)
    out = arguments.out or runs.results_folder(path)
    stem = f"gradcam-{dataset.label}-{arguments.split}-{arguments.task}"
    import numpy as np

    shown = [np.stack(examples[column]) for column in COLUMNS if examples[column]]
    pictures = {f"{stem}-averages.png": gradcam.figure(cells, rows, COLUMNS)}
    if shown:
        sheet = records.sheet(np.concatenate(shown), 8)
        pictures[f"{stem}-examples.png"] = Image.fromarray(sheet)
    for name, picture in pictures.items():
        with files.whole(out / name) as part:
            picture.save(part)
        print(out / name)


def groups(cells: dict[tuple, object]) -> list[tuple[str, str]]:
    """The (gender, race) of every group that averages may be of, in order, from their keys."""
    races = labels.races_of({key[1] for key in cells}) if cells else ()
    return [(gender, race) for gender in labels.GENDERS for race in races]


def explain(
    trained: "Classifier",
    dataset: "Dataset",
    split: str,
    task: str,
    layer: str | None = None,
    align: bool = False,
) -> "Iterator[tuple[np.ndarray, np.ndarray, list[tuple | None]]]":
    """Batches of crops, their maps, and each crop's (gender, race, right or wrong) or None.

    Args:
        align: find each face in its picture and align it first; where none is found, the crop's
            key is None.
    """
    import numpy as np
    from tqdm import tqdm

    from vggface_gender.data import records
    from vggface_gender.evaluation import gradcam

    truth = records.labels(dataset, split)
    names, coarse = trained.tasks[task], None
    if task == "race" and truth.race.notna().any():
        # As metrics compares them: in the names that the classifier and the dataset share.
        shared = labels.common(names, labels.races_of(truth.race.dropna()))
        into = labels.project(names, shared)
        coarse = np.array([shared.index(into[name]) if into[name] else -2 for name in names])
        names = shared
    wanted = records.targets(truth, task, names)
    explainer = gradcam.explainer(trained.model, task, layer)
    done = lost = 0
    if align:
        batches = aligned(trained, dataset, split)
    else:
        records = records.batches(dataset, split, BATCH, trained.size, trained.padding)
        batches = ((part["image"].numpy(), True) for part in records)
    with tqdm(total=len(truth), desc=f"Grad-CAM, {task}", unit=" faces") as bar:
        for crops, found in batches:
            maps, told = explainer(crops)
            rows = slice(done, done + len(crops))
            true = wanted[rows]
            if coarse is not None:
                told = coarse[told]
            right = np.abs(told - true) < AGE_OFF if task == "age" else told == true
            known = found & (np.isfinite(true) if task == "age" else true >= 0)
            lost += int(np.sum(np.logical_not(found)))
            yield crops, maps, _keys(truth.iloc[rows], right, known)
            done += len(crops)
            bar.update(len(crops))
    if align:
        print(f"{lost:,} of {len(truth):,} faces were not found in their pictures, and left out")


def aligned(
    trained: "Classifier", dataset: "Dataset", split: str
) -> "Iterator[tuple[np.ndarray, np.ndarray]]":
    """Batches of the largest face of each picture, aligned, and whether there was one (else black).

    The crops are (b, size, size, 3) `uint8` RGB in the classifier's frame.
    """
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from vggface_gender.data import records
    from vggface_gender.photos import crops, faces

    def look(jpeg: bytes) -> np.ndarray | None:
        photo = crops.decode(jpeg)
        found = faces.detect(photo)
        if not found:
            return None
        largest = max(found, key=lambda face: face.box[2] - face.box[0])
        return faces.align(photo, [largest], trained.size, trained.padding)[0]

    black = np.zeros((trained.size, trained.size, 3), np.uint8)
    jpegs = records.jpegs(dataset, split)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(jpegs), BATCH):
            seen = list(pool.map(look, jpegs[start : start + BATCH]))
            crop = np.stack([black if one is None else one for one in seen])
            yield crop, np.array([one is not None for one in seen])


def _keys(truth: "pd.DataFrame", right: "np.ndarray", known: "np.ndarray") -> list[tuple | None]:
    return [
        (gender, race, COLUMNS[not is_right]) if is_known and gender and race else None
        for gender, race, is_right, is_known in zip(
            truth.gender, truth.race, right, known, strict=True
        )
    ]


if __name__ == "__main__":
    sys.exit(console.run(main))
