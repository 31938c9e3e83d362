"""Times of functions that take turns, and functions worth timing."""

import contextlib
import io
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import numpy as np

BATCH_SIZE = 64  # crops in a forward pass, the default of `features.extract`
SLOWNESS = 32  # dlib's own code and VGG-16 in float32 are given so many times fewer crops


def in_turns(
    name: str,
    functions: Sequence[Callable[[], object]],
    *,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    warm_up: bool = True,
) -> list[tuple[float, ...]]:
    """The seconds that each function takes, turn by turn.

    Args:
        name: of what is measured, for the progress bar.
        functions: called one after the other, `repeats` times over.
        clock: `time.perf_counter` for wall time, `time.process_time` for the CPU time of all of
            this process's threads.
        warm_up: whether to call each once before.

    Returns:
        `repeats` tuples, each with one duration a function.
    """
    from tqdm import tqdm

    turns = []
    calls = repeats + warm_up
    for _ in tqdm(range(calls), name, unit="turn", leave=False, disable=None):
        seconds = []
        for function in functions:
            start = clock()
            function()
            seconds.append(clock() - start)
        turns.append(tuple(seconds))
    return turns[warm_up:]


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Discard what a part of the package prints while it is measured."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def exhaust(batches: Iterable) -> None:
    """Have every batch computed and let it go."""
    for _ in batches:
        pass


def few(paths: Sequence) -> Sequence:
    """The part of the images that something slow is given."""
    return paths[: max(1, len(paths) // SLOWNESS)]


def forward(
    model: "keras.Model", crops: "np.ndarray", *, batch_size: int = BATCH_SIZE
) -> Callable[[], None]:
    """A function that runs a model over crops in memory as one compiled graph.

    Args:
        crops: (n, size, size, 3) `uint8`; copied into tensors here and not when it is called.
        batch_size: crops in a forward pass.
    """
    import numpy as np
    import tensorflow as tf

    graph = tf.function(lambda part: model(part, training=False), autograph=False)
    traced = graph.get_concrete_function(tf.TensorSpec((None, *crops.shape[1:]), tf.uint8))
    starts = range(0, len(crops), batch_size)
    parts = [tf.constant(crops[start : start + batch_size]) for start in starts]

    def run() -> None:
        for part in parts:
            tf.nest.map_structure(np.asarray, traced(part))  # waits for the result

    return run


def vgg16(precision: str) -> "keras.Model":
    """VGG-Face's network with random weights, which take the same time as trained ones."""
    from vggface_gender import backbones
    from vggface_gender.backbones import vggface

    return backbones.with_precision(vggface.build(), precision)


def in_new_process(function: Callable, *arguments: Any) -> Any:
    """What a function returns in an interpreter started for it, once that has ended."""
    import multiprocessing

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
