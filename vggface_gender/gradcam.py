"""Show which parts of a face a classifier's predictions come from, by Grad-CAM.

    vggface-gender gradcam --run RUN --dataset UTKFace --task gender

Writes two pictures: overlays on faces of correct and of incorrect predictions; and the average face
and the average map of every gender and race, for right and for wrong predictions.
"""

import argparse
import sys
from pathlib import Path

from vggface_gender.base import console, contract, files, labels, options, runs
from vggface_gender.datasets import catalogue

EXAMPLES = 8  # faces of correct predictions, and as many of incorrect ones


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = options.Parser("gradcam", __doc__, extra="train")
    options.add_run_argument(parser)
    options.add_dataset_arguments(parser, catalogue.NAMED, split_seed=None, align=False)
    options.add_split_argument(parser)
    parser.add_argument(
        "--task", choices=labels.TASKS, default="gender", help="whose predictions to explain"
    )
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="the layer of the backbone whose map is shown (default: its last map of 3 rows and "
        "columns or more)",
    )
    parser.add_argument(
        "--align",
        dest="align_shown",
        action="store_true",
        help="detect the face in each of the dataset's images and align it first, so that averages "
        "look like faces where the dataset's own images are not aligned; images in which no face "
        "is detected are left out and counted",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="the folder that the pictures are written to (default: the run's)",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    path = runs.find(arguments.run)
    contract.read(path)

    from vggface_gender import datasets

    datasets.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start()
    from vggface_gender.evaluation import (
        gradcam,
        gradcam_figure,
        held_out,
        provenance,
        trained_on,
    )
    from vggface_gender.inference import classifier

    trained = classifier.load(path)
    dataset = held_out.prepare(path, **options.dataset_arguments(arguments))
    dataset.require(arguments.split)
    how = {"task": arguments.task, "layer": arguments.layer, "align": arguments.align_shown}
    summary = gradcam.summarize(
        trained,
        dataset,
        split=arguments.split,
        examples=EXAMPLES,
        overlap=trained_on.marks(path, dataset, split=arguments.split),
        **how,
    )
    print(gradcam.describe(summary))
    title = f"{arguments.task}, {dataset.label} {arguments.split}: mean face and mean Grad-CAM map"
    pictures = {
        "averages": gradcam_figure.averages(summary.averages, title=title),
        "examples": gradcam_figure.examples(summary),
    }
    folder = arguments.out or runs.results_folder(path)
    made_by = provenance.made_by(path, dataset, split=arguments.split, **how)
    for kind, picture in pictures.items():
        if picture is not None:
            name = f"gradcam-{{}}-{arguments.split}-{arguments.task}-{kind}.png"
            file = provenance.place(folder, name, dataset=dataset, made_by=made_by)
            with files.whole(file) as part:
                picture.save(part)
            provenance.sign(file, made_by)
            print(file)


if __name__ == "__main__":
    sys.exit(console.run(main))
