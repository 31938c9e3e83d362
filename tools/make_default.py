"""Make the classifier that comes with the package from a finished run, and write its model card.

    python tools/make_default.py --run RUN --datasets FairFace UTKFace --source FACES_DIR

Writes model_files/default: the classifier in half precision, its settings, its figures, and a card
computed from them. The figures are those of the file that is written, not of the run.
"""

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender import datasets, evaluate
from vggface_gender.base import console, files, options, runs
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    from vggface_gender.datasets import Dataset
    from vggface_gender.inference.classifier import Classifier

LARGEST = 12_000_000  # bytes of the classifier's file, which is kept in the repository
TOLERANCE = {"gender": 2e-3, "race": 2e-3, "age": 0.1}  # of probabilities, and of years
CROPS = 256  # that the file is compared with the run on

# The default classifier is for everyone, so it is made only of what everyone may use.
BACKBONES = ("dlib",)
TRAINING_DATA = ("FairFace",)


def main(argv: list[str] | None = None) -> None:
    parser = options.Parser(
        prog="python tools/make_default.py", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--run", required=True, help="a finished run's name, or its folder")
    parser.add_argument(
        "--datasets",
        nargs="+",
        choices=datasets.NAMED,
        default=["FairFace", "UTKFace"],
        metavar="NAME",
        help=f"whose test splits it is evaluated on, of {', '.join(datasets.NAMED)}; that of its "
        "training among them",
    )
    parser.add_argument(
        "--source", type=Path, metavar="DIR", help="the datasets' folders' folder, as $FACES_DIR"
    )
    parser.add_argument("--data-dir", default="tfrecords", metavar="DIR", help="where records lie")
    arguments = parser.parse_args(argv)
    path = runs.find(arguments.run)
    settings = finished(path.parent)
    home = settings["dataset"]
    if home not in arguments.datasets:
        raise InputError(f"it was trained on {home}: name that among --datasets too")

    from vggface_gender.base import device

    device.start()
    from vggface_gender.evaluation import card
    from vggface_gender.inference import classifier

    sources = {
        name: str(arguments.source / name) if arguments.source else None
        for name in arguments.datasets
    }
    dataset = datasets.prepare(home, sources[home], arguments.data_dir, settings["split_seed"])
    if dataset.fingerprint != settings["fingerprint"]:
        raise InputError(
            f"{dataset.directory}: not the records that {path} was trained on; some of its test "
            "faces may be among those; train again on these"
        )
    trained = classifier.load(path, "float32")
    to = runs.MODEL_FILES / runs.DEFAULT
    with files.whole(to) as part:
        part.mkdir()
        file = part / runs.CLASSIFIER
        # The same figures on every machine: 16 bits are for those who ask for them.
        about = card.without_places(trained.about)
        classifier.save(
            dataclasses.replace(trained, precision="float32", about=about), file, half=True
        )
        check(file, trained, dataset)
        config = json.loads((path.parent / "config.json").read_text())
        files.write_json(card.without_places(config), part / "config.json")
        tables = runs.MODEL_FILES / f"{runs.DEFAULT}-evaluation"
        for name in sorted(arguments.datasets, key=lambda name: name != home):
            line = ["--run", str(file), "--out", str(tables), "--dataset", name]
            line += ["--data-dir", arguments.data_dir]
            evaluate.main(line + (["--source", sources[name]] if sources[name] else []))
            written = tables / f"metrics-{name}-test.json"
            shutil.copy(written, part / (runs.METRICS if name == home else written.name))
        card.write(part, words(trained))
        shutil.rmtree(to, ignore_errors=True)
    print(f"\nthe default classifier: {to}\nits card: {to / card.CARD}")


def finished(folder: Path) -> dict:
    """The settings of a finished run that is made of what everyone may use.

    Raises:
        InputError: it is not finished, or learned from other weights or data than those.
    """
    for file in ("config.json", runs.METRICS):
        if not (folder / file).is_file():
            raise InputError(f"{folder}: no {file}: give a finished run's folder as --run")
    settings = runs.settings(folder)
    for key, known in (("backbone", BACKBONES), ("dataset", TRAINING_DATA)):
        if settings[key] not in known:
            raise InputError(
                f"{folder}: its {key} is {settings[key]}; the default classifier is for everyone, "
                f"so give a run with {' or '.join(known)}"
            )
    if init := settings.get("init"):
        raise InputError(
            f"{folder}: it goes on from {init}, and its settings don't say what that learned from; "
            "give a run that began with a backbone"
        )
    return settings


def check(file: Path, trained: "Classifier", dataset: "Dataset") -> None:
    """Compare the written file with the run on test crops, and print how far they are apart.

    Raises:
        SystemExit: the file is too large, or an answer is off by more than `TOLERANCE`.
    """
    import numpy as np

    from vggface_gender.data import records
    from vggface_gender.inference import classifier

    size = file.stat().st_size
    if size > LARGEST:
        sys.exit(f"error: the classifier's file has {size:,} bytes; allowed are {LARGEST:,}")
    batches = records.batches(dataset, "test", CROPS, trained.size, trained.padding)
    crops = next(batches.as_numpy_iterator())["image"]
    expected, got = (it.predict(crops) for it in (trained, classifier.load(file)))
    print(f"\nthe file has {size:,} bytes; on {len(crops)} crops its answers differ by at most")
    for task, answers in expected.items():
        off = float(np.abs(answers - got[task]).max())
        print(f"  {task}: {off:.1e} (allowed: {TOLERANCE[task]:.0e})")
        if not off <= TOLERANCE[task]:  # a NaN is no success
            sys.exit(f"error: in half precision {task} is off by {off:.1e}")
    print()


def words(trained: "Classifier") -> "card.Words":
    """What the card says of the default classifier alone."""
    from vggface_gender.evaluation import card

    return card.Words(
        title="The default classifier",
        opening="What `predict` and `evaluate` use where no `--run` is given.",
        made="Made by `tools/make_default.py`, which also wrote this page; every figure on it is "
        f"that of the file `{runs.CLASSIFIER}` beside it, on faces held out from training.",
        licence="**Licence:** Apache-2.0, as the package. The network's own weights are in the "
        "public domain; who passes this file on names its training data as above.",
        run=runs.DEFAULT,
        inside=f"; {trained.model.count_params():,} numbers, the large arrays in half precision",
    )


if __name__ == "__main__":
    sys.exit(console.run(main))
