"""Show which parts of a face a classifier's predictions come from: Grad-CAM, occlusion, RISE.

    vggface-gender gradcam --run RUN --dataset UTKFace --task gender
    vggface-gender gradcam --run RUN --dataset UTKFace --task age --method occlusion --count 500

Writes three pictures and a table: overlays on faces of correct and of incorrect predictions, with
their labels; the average face and the average map of every gender and race, for right and for wrong
predictions; and how much of the maps lies in which part of the face (eyes and brows, nose, mouth,
cheeks, forehead, chin and jaw, what is around), which is also written as CSV and printed.

Grad-CAM takes gradients. Occlusion and RISE take forward passes alone, 65 and 513 a face, and go
with any classifier. With occlusion the table also says how far the output falls where a whole part
of the face is covered.
"""

import argparse
import sys
from pathlib import Path

from vggface_gender.base import console, contract, files, labels, options, runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue

EXAMPLES = 8  # faces of correct predictions, and as many of incorrect ones
METHODS = ("gradcam", "occlusion", "rise")


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
        "--method",
        choices=METHODS,
        default="gradcam",
        help="what makes the maps: gradients (gradcam), covering one place after the other "
        "(occlusion), or random masks (rise)",
    )
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="with gradcam, the layer of the backbone whose map is shown (default: the deepest of "
        "8 rows and columns or more)",
    )
    parser.add_argument(
        "--count",
        type=options.positive,
        metavar="N",
        help="explain a random sample of N faces (default: 300 by occlusion, 60 by rise, else all)",
    )
    parser.add_argument(
        "--align",
        dest="align_shown",
        action="store_true",
        help="detect the face in each of the dataset's images and align it first, so that averages "
        "and parts of the face are at their places where the dataset's own images are not aligned; "
        "images in which no face is detected are left out and counted",
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
    if arguments.layer and arguments.method != "gradcam":
        raise InputError("--layer goes with --method gradcam: occlusion and rise look at none")
    path = runs.find(arguments.run)
    contract.read(path)

    from vggface_gender import datasets

    datasets.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start()
    from vggface_gender.evaluation import (
        explanations,
        explanations_figure,
        face_regions,
        held_out,
        provenance,
        trained_on,
    )
    from vggface_gender.inference import classifier

    # Drops of probabilities are small, and 16 bits round them.
    is_gradcam = arguments.method == explanations.GRADCAM
    trained = classifier.load(path, "auto" if is_gradcam else "float32")
    dataset = held_out.prepare(path, **options.dataset_arguments(arguments))
    dataset.require(arguments.split)
    how = {"task": arguments.task, "layer": arguments.layer, "align": arguments.align_shown}
    how["count"] = arguments.count or explanations.COUNTS[arguments.method]
    if not is_gradcam:
        how["method"] = arguments.method
    summary = explanations.summarize(
        trained,
        dataset,
        split=arguments.split,
        examples=EXAMPLES,
        overlap=trained_on.marks(path, dataset, split=arguments.split),
        **how,
    )
    print(explanations.describe(summary))
    method = explanations.NAMES[arguments.method]
    of = f"{arguments.task}, {dataset.label} {arguments.split}"
    pictures = {
        "averages.png": explanations_figure.averages(
            summary.averages, title=f"{of}: mean face and mean {method} map"
        ),
        "examples.png": explanations_figure.examples(summary, title=f"{of}: {method}"),
    }
    tables = {}
    is_aligned = arguments.align_shown or dataset.padding is not None
    if not is_aligned:
        print(
            f"{dataset.name} says no frame, so where the parts of a face are is not known: give "
            "--align",
            file=sys.stderr,
        )
    elif summary.face is not None:
        table = face_regions.table(summary.shares, summary.drops, padding=trained.padding)
        print("\n" + face_regions.report(table, task=arguments.task) + "\n")
        pictures["regions.png"] = explanations_figure.regions(
            table,
            summary.face,
            padding=trained.padding,
            title=f"{of}: {method}",
            unit=face_regions.UNITS[arguments.task],
        )
        tables["regions.csv"] = table
    folder = arguments.out or runs.results_folder(path)
    made_by = provenance.made_by(path, dataset, split=arguments.split, **how)
    for kind, result in {**pictures, **tables}.items():
        if result is None:
            continue
        name = f"{arguments.method}-{{}}-{arguments.split}-{arguments.task}-{kind}"
        file = provenance.place(folder, name, dataset=dataset, made_by=made_by)
        with files.whole(file) as part:
            if kind in tables:
                result.to_csv(part, index=False, float_format="%.6g")
            else:
                result.save(part)
        provenance.sign(file, made_by)
        print(file)


if __name__ == "__main__":
    sys.exit(console.run(main))
