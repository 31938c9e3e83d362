"""What holds of all files: the way data flows, what may be imported where, docstrings, no home."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vggface_gender import __main__

ROOT = Path(__file__).resolve().parents[1]

# Every file of the package and every tool, in the order in which they may import one another: a
# file may import what stands above it, and nothing below. A new file is given its place here.
# (Two import by a name made up at run time: the datasets' __init__ its builders, __main__ its
# commands; all of those stand above them.)
ORDER = (
    # What everything stands on.
    "vggface_gender/__init__.py",
    "vggface_gender/command.py",
    "vggface_gender/device.py",
    "vggface_gender/labels.py",
    "vggface_gender/runs.py",
    # Other frameworks' weights, and the backbones made from them.
    "vggface_gender/weights/__init__.py",
    "vggface_gender/weights/matconvnet.py",
    "vggface_gender/weights/dlib_dat.py",
    "vggface_gender/backbones/vggface.py",
    "vggface_gender/backbones/resnet50.py",
    "vggface_gender/backbones/dlib_resnet.py",
    "vggface_gender/backbones/__init__.py",
    # Photos to crops.
    "vggface_gender/crops.py",
    "vggface_gender/augmentation.py",
    "vggface_gender/faces.py",
    # Crops and labels to records.
    "vggface_gender/datasets/splits.py",
    "vggface_gender/datasets/builder.py",
    "vggface_gender/datasets/utk_face/__init__.py",
    "vggface_gender/datasets/utk_face/utk_face_dataset_builder.py",
    "vggface_gender/datasets/fair_face/__init__.py",
    "vggface_gender/datasets/fair_face/fair_face_dataset_builder.py",
    "vggface_gender/datasets/adience/__init__.py",
    "vggface_gender/datasets/adience/adience_dataset_builder.py",
    "vggface_gender/datasets/all_age_faces/__init__.py",
    "vggface_gender/datasets/all_age_faces/all_age_faces_dataset_builder.py",
    "vggface_gender/datasets/gender_dataset/__init__.py",
    "vggface_gender/datasets/gender_dataset/gender_dataset_dataset_builder.py",
    "vggface_gender/datasets/gender_dataset_small/__init__.py",
    "vggface_gender/datasets/gender_dataset_small/gender_dataset_small_dataset_builder.py",
    "vggface_gender/datasets/synthetic_faces/__init__.py",
    "vggface_gender/datasets/synthetic_faces/drawing.py",
    "vggface_gender/datasets/synthetic_faces/synthetic_faces_dataset_builder.py",
    "vggface_gender/datasets/folder/__init__.py",
    "vggface_gender/datasets/folder/folder_dataset_builder.py",
    "vggface_gender/datasets/table/__init__.py",
    "vggface_gender/datasets/table/table_dataset_builder.py",
    "vggface_gender/datasets/__init__.py",
    "vggface_gender/datasets/mix.py",
    "vggface_gender/sampling.py",
    # Records to features, to a head, to a run.
    "vggface_gender/input_pipeline.py",
    "vggface_gender/features.py",
    "vggface_gender/heads.py",
    "vggface_gender/losses.py",
    "vggface_gender/optimizers.py",
    "vggface_gender/classifier.py",
    "vggface_gender/training.py",
    # Predictions to figures.
    "vggface_gender/evaluation/__init__.py",
    "vggface_gender/evaluation/predictions.py",
    "vggface_gender/evaluation/metrics.py",
    "vggface_gender/evaluation/comparison.py",
    "vggface_gender/evaluation/calibration.py",
    "vggface_gender/evaluation/audit.py",
    "vggface_gender/evaluation/overlap.py",
    "vggface_gender/evaluation/clusters.py",
    "vggface_gender/evaluation/detection.py",
    "vggface_gender/evaluation/robustness.py",
    "vggface_gender/evaluation/model_card.py",
    "vggface_gender/evaluation/results.py",
    "vggface_gender/evaluation/gradcam.py",
    "vggface_gender/evaluation/report.py",
    "vggface_gender/pseudo_labels.py",
    # The commands.
    "vggface_gender/transfer.py",
    "vggface_gender/tuning.py",
    "vggface_gender/multitask.py",
    "vggface_gender/finetune.py",
    "vggface_gender/evaluate.py",
    "vggface_gender/predict.py",
    "vggface_gender/__main__.py",
    # The tools.
    "tools/convert_vggface.py",
    "tools/write_tfrecords.py",
    "tools/predict.py",
    "tools/compare_runs.py",
    "tools/audit.py",
    "tools/show_batches.py",
    "tools/gradcam.py",
    "tools/robustness.py",
    "tools/detection.py",
    "tools/cross_evaluate.py",
    "tools/cluster.py",
    "tools/pseudo_label.py",
    "tools/reproduce_utkface.py",
    "tools/reproduce.py",
    "tools/demo.py",
    "tools/make_default.py",
    "tools/benchmark.py",
)

# The only files of the package, or folders of files, that may import these. (Tools may: a benchmark
# compares what we chose with what we did not.)
MAY_IMPORT = {
    "tensorflow": (
        "vggface_gender/device.py",
        "vggface_gender/input_pipeline.py",
        "vggface_gender/evaluation/gradcam.py",
    ),
    "tensorflow_datasets": ("vggface_gender/datasets/", "vggface_gender/input_pipeline.py"),
    "keras": (
        "vggface_gender/device.py",
        "vggface_gender/backbones/",
        "vggface_gender/features.py",
        "vggface_gender/heads.py",
        "vggface_gender/losses.py",
        "vggface_gender/optimizers.py",
        "vggface_gender/classifier.py",
        "vggface_gender/training.py",
        "vggface_gender/evaluation/gradcam.py",
        "vggface_gender/transfer.py",
        "vggface_gender/tuning.py",
        "vggface_gender/finetune.py",
    ),
    "dlib": ("vggface_gender/faces.py",),
}
HEAVY = {*MAY_IMPORT, "cv2"}


def source_files() -> list[str]:
    folders = (ROOT / "vggface_gender", ROOT / "tools")
    files = [path for folder in folders for path in folder.rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in files)


def imported_modules(source: str) -> Iterator[str]:
    """The full name of each module (or a name in one) that a source imports anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(module: str) -> str | None:
    """The file here that holds a module, or a name in a module; None for what is installed."""
    if module.partition(".")[0] != "vggface_gender":
        tool = f"tools/{module.partition('.')[0]}.py"  # a script's own folder is searched too
        return tool if (ROOT / tool).exists() else None
    path = module.replace(".", "/")
    candidates = (f"{path}.py", f"{path}/__init__.py")
    found = next((name for name in candidates if (ROOT / name).is_file()), None)
    return found or file_of(module.rpartition(".")[0])


def out_of_order(file: str, source: str) -> list[str]:
    """The files that `source` imports although they don't stand before `file`."""
    place = ORDER.index(file)
    imported = {file_of(module) for module in imported_modules(source)} - {None}
    return sorted(name for name in imported if name not in ORDER[:place])


def test_every_file_has_one_place_in_the_order():
    assert sorted(ORDER) == source_files()


@pytest.mark.parametrize("file", source_files())
def test_a_file_imports_only_from_what_stands_before_it(file):
    assert not out_of_order(file, (ROOT / file).read_text())


@pytest.mark.parametrize(
    "statement",
    [
        "import vggface_gender.transfer",
        "from vggface_gender import transfer",
        "from vggface_gender.transfer import parse",
        "from vggface_gender import labels, transfer",
        "def later():\n    from vggface_gender import transfer",
        "if TYPE_CHECKING:\n    from vggface_gender import transfer",
    ],
)
def test_an_import_against_the_flow_would_be_seen(statement):
    assert out_of_order("vggface_gender/heads.py", statement) == ["vggface_gender/transfer.py"]


def test_an_import_of_a_package_is_one_of_its_own_file():
    statement = "from vggface_gender.datasets import Dataset, splits"
    assert out_of_order("vggface_gender/labels.py", statement) == [
        "vggface_gender/datasets/__init__.py",
        "vggface_gender/datasets/splits.py",
    ]


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_a_framework_is_known_only_where_it_should_be(library):
    users = {
        file
        for file in source_files()
        if file.startswith("vggface_gender/")
        for module in imported_modules((ROOT / file).read_text())
        if module.partition(".")[0] == library
    }
    assert users, f"nothing imports {library}: the test no longer sees what it should"
    assert {file for file in users if not file.startswith(MAY_IMPORT[library])} == set()


# Heavy libraries that importing each module may bring, in an interpreter of its own.
BRINGS = {
    "vggface_gender": set(),
    "vggface_gender.command": set(),
    "vggface_gender.labels": set(),
    "vggface_gender.__main__": set(),
    **{f"vggface_gender.{name}": set() for name in __main__.COMMANDS},
    "vggface_gender.device": set(),
    "vggface_gender.datasets": set(),
    "vggface_gender.datasets.mix": set(),
    "vggface_gender.sampling": set(),
    "vggface_gender.weights.matconvnet": set(),
    "vggface_gender.weights.dlib_dat": set(),
    "vggface_gender.evaluation.results": set(),
    "vggface_gender.evaluation.clusters": set(),
    "vggface_gender.evaluation.model_card": set(),
    "vggface_gender.pseudo_labels": set(),
    "vggface_gender.crops": {"cv2"},
    "vggface_gender.faces": {"dlib"},
}


@pytest.mark.parametrize("module", BRINGS)
def test_importing_a_module_brings_no_heavy_library(module):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert module in done.stdout.split()
    assert HEAVY & set(done.stdout.split()) == BRINGS[module]


def public(tree: ast.Module | ast.ClassDef) -> list[ast.FunctionDef | ast.ClassDef]:
    """The functions and classes that stand directly in a module or class, without the private."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"]


@pytest.mark.parametrize("file", source_files())
def test_modules_and_what_they_offer_have_docstrings(file):
    tree = ast.parse((ROOT / file).read_text())
    assert ast.get_docstring(tree), "no docstring at its top"
    offered = [*public(tree)]
    for node in public(tree):
        # A class with a base has methods whose docstring is the base's.
        if isinstance(node, ast.ClassDef) and not node.bases:
            offered += public(node)
    # A command's `main` is what the docstring at the top is about.
    bare = [node.name for node in offered if not ast.get_docstring(node) and node.name != "main"]
    assert not bare


def test_nothing_names_a_place_on_somebodys_machine():
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, capture_output=True, cwd=ROOT)
    if done.returncode:
        pytest.skip("not a git checkout")
    home = re.compile(rb"(?<![\w./-])(?:/(?:work|root|home|Users)/|[A-Z]:\\Users\\)\w+")
    found = {
        name.decode(): home.search(path.read_bytes())
        for name in done.stdout.split(b"\0")
        if (path := ROOT / name.decode()).is_file()
    }
    assert found
    assert {name: match[0] for name, match in found.items() if match} == {}
