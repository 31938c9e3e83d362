"""Make the classifier that comes with the package from a finished run, and write its model card.

    python tools/make_default.py --run RUN --datasets FairFace UTKFace --source FACES_DIR

Writes model_files/default: the classifier in half precision, its settings, its figures, and a card
computed from them. The figures are those of the file that is written, not of the run.
"""

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vggface_gender.base import console, files, options, runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue

if TYPE_CHECKING:
    from vggface_gender.datasets import Dataset
    from vggface_gender.inference.classifier import Classifier

# Bytes of the classifier's files, which are kept in the repository.
LARGEST = {runs.CLASSIFIER: 12_000_000, runs.ONNX: 12_000_000}
TOLERANCE = {"gender": 2e-3, "race": 2e-3, "age": 0.1}  # of probabilities, and of years
CROPS = 256  # that the file is compared with the run on

# The default classifier is for everyone, so it is made only of what everyone may use.
BACKBONES = ("dlib",)
TRAINING_DATA = ("FairFace",)


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = options.Parser("make_default", __doc__)
    made.prog = "python tools/make_default.py"
    made.add_argument("--run", required=True, help="a finished run's name, or its folder")
    made.add_argument(
        "--datasets",
        nargs="+",
        choices=catalogue.NAMED,
        default=["FairFace", "UTKFace"],
        metavar="NAME",
        help=f"whose test splits it is evaluated on, of {', '.join(catalogue.NAMED)}; that of its "
        "training among them",
    )
    made.add_argument(
        "--source", type=Path, metavar="DIR", help="the datasets' folders' folder, as $FACES_DIR"
    )
    made.add_argument(
        "--data-dir", type=Path, default="tfrecords", metavar="DIR", help="the records' folder"
    )
    return made


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    path = runs.find(arguments.run)
    settings = finished(path.parent)
    names = sorted(arguments.datasets, key=lambda name: name != settings["dataset"])
    if names[0] != settings["dataset"]:
        raise InputError(f"it was trained on {settings['dataset']}: name that dataset too")

    from vggface_gender.base import device

    device.start()
    import default_card
    import half_precision
    from vggface_gender.evaluation import card_sources, held_out, trained_on
    from vggface_gender.exports import onnx
    from vggface_gender.inference import classifier

    datasets = {
        name: held_out.prepare(
            path,
            name,
            source=arguments.source and arguments.source / name,
            data_dir=arguments.data_dir,
        )
        for name in names
    }
    trained = classifier.load(path, precision="float32")
    folder = runs.MODEL_FILES / runs.DEFAULT
    with files.whole(folder, replace=True) as part:
        part.mkdir()
        file = part / runs.CLASSIFIER
        # The same figures on every machine: 16 bits are for those who ask for them.
        about = card_sources.without_paths(trained.about)
        half_precision.save(dataclasses.replace(trained, precision="float32", about=about), file)
        stored = classifier.load(file, precision="float32")
        onnx.save(stored, part / runs.ONNX, made_from=file)
        check(part, trained, datasets[names[0]])
        trained_on.carry(path, file)
        config = runs.config(path.parent)
        files.write_json(card_sources.without_paths(config), part / "config.json")
        for name, dataset in datasets.items():
            written = evaluate(file, dataset)
            shutil.copy(written, part / (runs.METRICS if name == names[0] else written.name))
        default_card.write(part, numbers=trained.model.count_params())
    print(f"\nthe default classifier: {folder}\nits card: {folder / 'model_card.md'}")


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
            f"{folder}: it was continued from {init}, and its settings don't say what that learned "
            "from; give a run that began with a backbone"
        )
    if settings.get("teachers"):
        raise InputError(f"{folder}: it learned from other classifiers; give a run without")
    return settings


def check(folder: Path, trained: "Classifier", dataset: "Dataset") -> None:
    """Compare the written files with the run on test crops, and print how far they are apart.

    Raises:
        SystemExit: a file is too large, or an output is off by more than is allowed.
    """
    from vggface_gender.exports import parity
    from vggface_gender.inference import classifier, onnx_classifier

    stored = classifier.load(folder / runs.CLASSIFIER)
    crops = next(classifier.crops_of(trained, dataset, split="test", batch_size=CROPS))
    for name, one, other, allowed in (
        (runs.CLASSIFIER, trained, stored, TOLERANCE),
        (runs.ONNX, stored, onnx_classifier.load(folder / runs.ONNX), parity.TOLERANCE),
    ):
        size = (folder / name).stat().st_size
        if size > LARGEST[name]:
            sys.exit(f"error: {name} has {size:,} bytes; allowed are {LARGEST[name]:,}")
        print(f"\n{name} has {size:,} bytes; on {len(crops)} crops its outputs differ by at most")
        for task, (off, _, _) in parity.differences(one, other, crops=crops).items():
            print(f"  {task}: {off:.1e} (allowed: {allowed[task]:.0e})")
            if not off <= allowed[task]:  # a NaN is no success
                sys.exit(f"error: in {name} {task} is off by {off:.1e}")
    print()


def evaluate(file: Path, dataset: "Dataset") -> Path:
    """Write and print what a classifier's file reaches on a test split; returns the metrics file.

    It goes where `vggface-gender evaluate` writes what it finds of the default classifier.
    """
    from vggface_gender.evaluation import metrics, provenance, results, testing, trained_on
    from vggface_gender.inference import classifier

    table = testing.test(file, classifier.load(file), dataset=dataset, split="test").table
    folder = runs.MODEL_FILES / f"{runs.DEFAULT}-evaluation"
    path = folder / f"metrics-{dataset.label}-test.json"
    figures = results.publish(
        table,
        dataset=dataset,
        split="test",
        folder=folder,
        metrics_path=path,
        made_by=provenance.made_by(file, dataset, split="test"),
        learned_from=trained_on.about(file, dataset, split="test"),
    )
    print(metrics.report(figures))
    return path


if __name__ == "__main__":
    sys.exit(console.run(main))
