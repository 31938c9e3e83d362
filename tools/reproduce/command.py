"""Print published figures beside ours, each table by its name.

    python tools/reproduce.py --list
    python tools/reproduce.py --published
    python tools/reproduce.py adience-five-folds --source DIR --embedding w600k_r50.onnx

What was published is printed first, whole: every figure, the source, and where it contradicts
itself. Then come ours. Runs that are not there are trained first, some tables' for hours on two
cores; finished ones are used. Where a dataset is not there, the last line says which, and how to
get it, and the exit status is 2 if nothing of ours could be made; with --published, which asks for
no more than the published figures, it is 0. They stand in `published.json` beside this file.
"""

import argparse
from pathlib import Path

from reproduce import tables
from vggface_gender.base import files, networks, options


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = options.Parser("reproduce", __doc__)
    made.prog = "python tools/reproduce.py"
    made.add_argument(
        "name", nargs="?", choices=sorted(tables.PUBLISHED), help="the published table"
    )
    made.add_argument(
        "--list",
        action="store_true",
        help="list the tables: what each is of, its source, the datasets that ours takes, whether "
        "they are at hand, and how to get those that are not",
    )
    made.add_argument(
        "--published",
        action="store_true",
        help="print what was published alone, of every table if none is named",
    )
    made.add_argument(
        "--runs",
        nargs="+",
        metavar="RUN",
        default=[],
        help="finished runs to use in place of training: of utkface-multitask four (several tasks, "
        "gender, race, several tasks balanced), of nii-cross-dataset any, of the others one for "
        "each that would be trained",
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
    made.add_argument(
        "--embedding",
        metavar="FILE.onnx",
        help="of adience-five-folds: the network whose embedding it is run on, such as ArcFace's, "
        "as --backbone takes it (also FILE.onnx:bgr, FILE.onnx:rgb:MEAN:DEVIATION; default: dlib's "
        "128 numbers)",
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
    taken = sorted({each for table in tables.PUBLISHED.values() for each in table["datasets"]})
    if name not in taken:
        raise argparse.ArgumentTypeError(
            f"{text}: no published table takes {name}; they take {', '.join(taken)}"
        )
    return name, path


def _check(made: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse options that say nothing together."""
    if arguments.list and (arguments.name or arguments.published):
        made.error("--list lists all tables: give it without a name and without --published")
    if arguments.list and arguments.json:
        made.error("--json is of figures: give it with a table's name, or with --published")
    if not (arguments.name or arguments.list or arguments.published):
        made.error(f"give --list, --published, or one of {', '.join(sorted(tables.PUBLISHED))}")
    of_one = {"threshold": "nii-pseudo-labels", "embedding": "adience-five-folds"}
    for option, table in of_one.items():
        if getattr(arguments, option) is not None and arguments.name != table:
            made.error(f"--{option} is of {table} alone")
    if arguments.embedding:
        if networks.onnx_file(arguments.embedding) is None:
            made.error(
                f"--embedding {arguments.embedding}: give FILE.onnx, FILE.onnx:bgr or "
                "FILE.onnx:rgb:MEAN:DEVIATION"
            )
        if arguments.runs:
            made.error("--embedding is what is trained on: give it without --runs")


def main(argv: list[str] | None = None) -> None:
    made = parser()
    arguments = made.parse_args(argv)
    _check(made, arguments)
    if arguments.published:
        names = [arguments.name] if arguments.name else sorted(tables.PUBLISHED)
        print("\n\n".join(map(tables.describe, names)))
        if arguments.json:
            files.write_json(
                {"published": {name: tables.PUBLISHED[name] for name in names}}, arguments.json
            )
        return
    if arguments.list:
        from reproduce import listing

        print(
            listing.listing(
                source=arguments.source,
                tables=dict(arguments.tables),
                data_dir=arguments.data_dir,
            )
        )
        return
    print(tables.describe(arguments.name), flush=True)
    if arguments.embedding:
        networks.check(arguments.embedding)
    _reproduce(arguments)


def _reproduce(arguments: argparse.Namespace) -> None:
    """Make ours of a table, and print and write them."""
    from reproduce.request import Request

    request = Request(
        arguments.name,
        runs=tuple(arguments.runs),
        source=arguments.source,
        tables=dict(arguments.tables),
        data_dir=arguments.data_dir,
        repeats=arguments.repeats,
        threshold=arguments.threshold,
        embedding=arguments.embedding,
        training=tuple(arguments.training),
    )
    published = tables.PUBLISHED[arguments.name]
    request.check_all(published)

    from vggface_gender.base import device

    device.start(seed=0)
    from reproduce import heads, nii, subgroups, utkface

    made_by = {
        "adience-five-folds": heads.adience_five_folds,
        "nii-cross-dataset": nii.nii_cross_dataset,
        "nii-fine-tuning": nii.nii_fine_tuning,
        "nii-pseudo-labels": nii.nii_pseudo_labels,
        "resnet50-subgroups": subgroups.resnet50_subgroups,
        "utkface-multitask": utkface.utkface_multitask,
        "vggface-transfer": heads.vggface_transfer,
    }
    found = made_by[arguments.name](request, published)
    if arguments.json:
        files.write_json({"published": published, "ours": found}, arguments.json)
