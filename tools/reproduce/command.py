"""Print published figures beside ours, each table by its name.

Runs that are not there are trained first, some tables' for hours on two cores; finished ones are
used. A dataset that is not there is named, with how to get it. Published figures, with their
sources, stand in `published.json` beside this file.
"""

import argparse
import json
from pathlib import Path

from vggface_gender.base import files, options

PUBLISHED = json.loads(Path(__file__).with_name("published.json").read_text())


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = options.Parser("reproduce", __doc__)
    made.prog = "python tools/reproduce.py"
    made.add_argument("name", choices=sorted(PUBLISHED), help="the published table")
    made.add_argument(
        "--runs",
        nargs="+",
        metavar="RUN",
        default=[],
        help="finished runs to use in place of training: of utkface-multitask four (several tasks, "
        "gender, race, several tasks balanced), of the others one for each that would be trained",
    )
    made.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="the folder that holds the datasets' folders, such as UTKFace (default: $FACES_DIR)",
    )
    made.add_argument(
        "--tables",
        nargs="+",
        type=_table,
        default=[],
        metavar="NAME=PATH",
        help="tables or folders of datasets that have no builder: MORPH, KaggleGender, "
        "JapanesePoliticians (docs/datasets.md shows how they are made)",
    )
    made.add_argument(
        "--data-dir", type=Path, default="tfrecords", metavar="DIR", help="the records' folder"
    )
    made.add_argument(
        "--repeats", type=options.positive, default=3, metavar="N", help="seeds of each training"
    )
    made.add_argument(
        "--threshold",
        type=options.share,
        metavar="C",
        help="of nii-pseudo-labels: the least confidence of a prediction to learn from "
        "(default: 0.9)",
    )
    options.add_json_argument(made)
    made.add_argument(
        "--training",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="OPTION",
        help="further options of every training, after all others; such figures are not comparable",
    )
    return made


def _table(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if not path or not Path(path).exists():
        raise argparse.ArgumentTypeError(
            f"{text} is not NAME=PATH of a table or folder that exists"
        )
    return name, path


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)

    from vggface_gender.base import device

    device.start(seed=0)
    from reproduce import heads, nii, subgroups, utkface
    from reproduce.request import Request

    tables = {
        "adience-five-folds": heads.adience_five_folds,
        "nii-cross-dataset": nii.nii_cross_dataset,
        "nii-fine-tuning": nii.nii_fine_tuning,
        "nii-pseudo-labels": nii.nii_pseudo_labels,
        "resnet50-subgroups": subgroups.resnet50_subgroups,
        "utkface-multitask": utkface.utkface_multitask,
        "vggface-transfer": heads.vggface_transfer,
    }
    published = PUBLISHED[arguments.name]
    print(f"{published['what']}\nsource: {published['source']}")
    request = Request(
        arguments.name,
        runs=tuple(arguments.runs),
        source=arguments.source,
        tables=dict(arguments.tables),
        data_dir=arguments.data_dir,
        repeats=arguments.repeats,
        threshold=arguments.threshold,
        training=tuple(arguments.training),
    )
    found = tables[arguments.name](request, published)
    if arguments.json:
        files.write_json({"published": published, "ours": found}, arguments.json)
