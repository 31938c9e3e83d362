"""An epoch of fine-tuning, end to end and with the batches' making taken out; and in float32."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.report import Row
from benchmark.timing import hushed, in_turns

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from vggface_gender.training.config import Config
    from vggface_gender.training.examples import Examples


def measure(folder: Path, *, work: Path, repeats: int) -> list[Row]:
    """Of dlib's network, as `multitask` trains it in its second phase.

    Args:
        folder: of UTKFace's images.
        work: a folder to write to.
    """
    import tensorflow as tf

    from vggface_gender import multitask
    from vggface_gender.base import device, training_options
    from vggface_gender.base.tasks import TASKS
    from vggface_gender.datasets import mixes
    from vggface_gender.training.config import Config, tuning
    from vggface_gender.training.examples import examples

    with hushed():
        mix = mixes.prepare("UTKFace", folder, data_dir=work / "tfrecords")
    tasks = {task: mix.classes(task) for task in TASKS}
    known = examples(mix, "train", tasks=tasks)
    auto = device.precision()
    usual = multitask.parser().parse_args(["--dataset", mix.name])
    settings: dict[str, Any] = {"command": "multitask", "dataset": mix.name}
    settings |= tuning(usual.backbone, **training_options.tuning_settings(usual))
    settings["batch_size"] = min(settings["batch_size"], len(known))
    configs = {
        precision: Config(**settings, precision=precision)
        for precision in dict.fromkeys(("float32", auto))
    }
    config = configs[auto]
    steps = len(known) // config.batch_size
    models = {precision: _tuned(its, tasks, steps) for precision, its in configs.items()}
    batches = _batches(config, known, size=models[auto].input_shape[1])
    one = tf.data.Dataset.from_tensors(next(iter(batches))).repeat()

    def epoch(model: "keras.Model", batches: "tf.data.Dataset") -> Callable[[], None]:
        return lambda: model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)

    def row(name: str, ours: str, reference: str, goal: str, sides: tuple) -> Row:
        images = steps * config.batch_size
        return Row(
            name=name,
            ours=ours,
            reference=reference,
            unit="images/s",
            goal=goal,
            pairs=[
                (images / theirs, images / ours_took)
                for theirs, ours_took in in_turns(name, sides, repeats=repeats)
            ],
        )

    in_memory = f"the same {steps} steps of {config.batch_size} on one batch in memory"
    rows = [
        row(
            "training",
            f"an epoch of multitask from {config.unfreeze} on, decoding and augmentation too",
            in_memory,
            "at least 0.8",
            (epoch(models[auto], one), epoch(models[auto], batches)),
        )
    ]
    if auto != "float32":
        sides = (epoch(models["float32"], one), epoch(models[auto], one))
        rows.append(row(f"training, {auto}", in_memory, "in float32", "more than 1", sides))
    return rows


def _tuned(config: "Config", tasks: Mapping[str, tuple[str, ...]], steps: int) -> "keras.Model":
    """Backbone and head as they are trained in the second phase."""
    from vggface_gender import backbones
    from vggface_gender.training import network, phases

    backbone, head = network.new(config, tasks)
    backbones.freeze_before(backbone, config.unfreeze)
    model = network.joined(backbone, head, batch_norm=config.batch_norm)
    phases.compile(
        model,
        config,
        steps=steps * config.epochs,
        learning_rate=config.learning_rate,
        schedule=config.schedule,
        multipliers=phases.multipliers(config, backbone),
    )
    return model


def _batches(config: "Config", known: "Examples", *, size: int) -> "tf.data.Dataset":
    """Training batches without end, as the second phase makes them."""
    from vggface_gender.data import batches, sampling

    return batches.training_batches(
        known.crops(size, padding=config.padding, amounts=config.amounts),
        lambda epoch: sampling.epoch(None, len(known), seed=config.seed, number=int(epoch)),
        targets=known.targets,
        weights=known.weights,
        batch_size=config.batch_size,
        seed=config.seed,
    )
