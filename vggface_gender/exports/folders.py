"""Folders that others' tools take: a model hub's, and Triton Inference Server's repository."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from vggface_gender.base import contract, files, runs
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import card, card_sources
from vggface_gender.exports import onnx
from vggface_gender.inference import classifier
from vggface_gender.inference.classifier import Classifier

TRITON_BATCH = 64


def save_hub(trained: Classifier, folder: str | os.PathLike, *, path: Path) -> None:
    """Write a folder that Hugging Face's hub takes, whole or not at all.

    It holds the classifier as Keras's and as ONNX file, its contract as `config.json`, and as
    `README.md` the model card under the header that the hub reads
    (https://huggingface.co/docs/hub/model-cards).

    Args:
        trained: loaded in `float32`.
        path: its `.keras` file.
    """
    with files.whole(folder, replace=True) as part:
        part.mkdir()
        shutil.copyfile(path, part / runs.CLASSIFIER)
        onnx.save(trained, part / runs.ONNX, made_from=path)
        files.write_json(classifier.described(trained), part / "config.json")
        page = path.parent / card.CARD
        if page.is_file():
            said = page.read_text()
        else:
            said = f"# {runs.called(path)}\n\n{card_sources.licence_of(trained.about)}\n"
        (part / "README.md").write_text(hub_header(trained.about, tuple(trained.tasks)) + said)


def hub_header(about: Mapping, tasks: tuple[str, ...]) -> str:
    """The YAML that a hub reads above a model card.

    Args:
        about: see `inference.classifier.Classifier`.
    """
    sources = []
    if {"backbone", "dataset"} <= about.keys():
        sources = card_sources.of(about)
    restricted = card_sources.is_for_research_only(sources) or not sources
    lines = [
        "---",
        "library_name: keras",
        "pipeline_tag: image-classification",
        "license: other",
        f"license_name: {'research-only' if restricted else 'see-card'}",
        "tags:",
        *(f"- perceived-{task}" for task in tasks),
        "- face",
        "- fairness",
        "- onnx",
        "---",
        "",
        "",
    ]
    return "\n".join(lines)


def save_triton(trained: Classifier, folder: str | os.PathLike, *, path: Path) -> None:
    """Write a model repository for Triton Inference Server, whole or not at all.

    `<name>/config.pbtxt` and `<name>/1/model.onnx` in `folder`, as
    https://docs.nvidia.com/deeplearning/triton-inference-server lays it out.

    Args:
        trained: loaded in `float32`.
        path: its `.keras` file.
    """
    name = runs.called(path)
    with files.whole(folder, replace=True) as part:
        (part / name / "1").mkdir(parents=True)
        onnx.save(trained, part / name / "1" / "model.onnx", made_from=path)
        (part / name / "config.pbtxt").write_text(
            triton_config(name, tasks=trained.tasks, size=trained.size)
        )
        files.write_json(classifier.described(trained), part / name / contract.NAME)


def triton_config(name: str, *, tasks: Mapping[str, tuple[str, ...]], size: int) -> str:
    """Triton's description of a classifier.

    Args:
        size: the crop's side in pixels.
    """
    outputs = ",\n".join(
        f'  {{ name: "{task}" data_type: TYPE_FP32 {_shape(task, names)} }}'
        for task, names in tasks.items()
    )
    return (
        f'name: "{name}"\nplatform: "onnxruntime_onnx"\nmax_batch_size: {TRITON_BATCH}\n'
        f'input [\n  {{ name: "crop" data_type: TYPE_FP32 dims: [ {size}, {size}, 3 ] }}\n]\n'
        f"output [\n{outputs}\n]\ndynamic_batching {{ }}\n"
    )


def _shape(task: str, names: tuple[str, ...]) -> str:
    """An output's shape without its batch axis, which may not be empty there."""
    if TASKS[task].is_classification:
        return f"dims: [ {len(names)} ]"
    return "dims: [ 1 ] reshape { shape: [ ] }"
