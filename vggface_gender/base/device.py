"""What the commands do with the machine before they start: precision, seeds, a quiet TensorFlow.

Where several hosts train together, this process is one of them from its start on.
"""

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vggface_gender.base import console
from vggface_gender.base.errors import InputError
from vggface_gender.base.hosts import Hosts, Place, meet

LEAST_KERAS = (3, 15)  # older ones cannot read the classifiers that are shipped
_hosts = Hosts()  # that train together, this process being one of them


def start(seed: int | None = None, *, place: Place | None = None) -> None:
    """Import Keras and TensorFlow without their start-up notes; seed Python, NumPy and Keras.

    With a seed, TensorFlow is also set to deterministic kernels, so that one seed gives one
    result, to the last digit, on one machine.

    Args:
        place: among several hosts, which are waited for; None where this one trains alone. Of
            these all but host 0 print nothing on standard output.

    Raises:
        InputError: Keras is too old, or the hosts don't meet.
    """
    global _hosts
    console.quiet()
    if place:
        _hosts = meet(place)
        if place.index:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with console.silenced():
        import tensorflow as tf

        if place:
            strategy()
        # The first thing computed brings up the devices, and their notes.
        tf.constant(0)
    import absl.logging
    import keras

    if tuple(map(int, keras.__version__.split(".")[:2])) < LEAST_KERAS:
        raise InputError(
            f"Keras {keras.__version__} is installed, and {'.'.join(map(str, LEAST_KERAS))} or "
            "newer is needed: pip install --upgrade keras"
        )
    absl.logging.set_verbosity(absl.logging.ERROR)
    if seed is not None:
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()


def hosts() -> Hosts:
    """Those that train together; by default this one alone."""
    return _hosts


@functools.cache
def strategy() -> Any:
    """What the hosts add up and gather by, inside its `run`.

    It has to be made before TensorFlow computes anything. Models are not made under it: of a host
    they are its own, and used as where it trains alone. A host trains on its first GPU, if any.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices(gpus[:1], "GPU")
    cluster = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(_hosts.addresses)}),
        task_type="worker",
        task_id=_hosts.index,
        num_accelerators={"GPU": len(gpus[:1])},
        rpc_layer="grpc",
    )
    return tf.distribute.MultiWorkerMirroredStrategy(cluster)


@contextlib.contextmanager
def scope(distribute: str = "none") -> Iterator[None]:
    """Where models must be made and compiled to be trained on several devices.

    Args:
        distribute: "none", or "mirrored": every GPU of this machine, or where there is none every
            logical CPU device, has a copy of the model and its part of each batch; or "multihost":
            no scope, see `strategy`.
    """
    if distribute != "mirrored":
        yield
        return
    with _mirrored().scope():
        yield


def even(batch_size: int, *, count: int, distribute: str = "none") -> int:
    """The batch size, or one a little less, with which every device has its part of every batch.

    Of an evaluation's first batch Keras adds up the devices' parts, so these have to be equal; and
    of an empty part, as the last batch may leave, TensorFlow's convolutions make an error.

    Args:
        count: examples in all.
    """
    if distribute != "mirrored":
        return batch_size
    devices = _mirrored().num_replicas_in_sync
    most = max(1, min(batch_size, count) // devices) * devices
    fitting = (size for size in range(most, 0, -devices) if not 0 < count % size < devices)
    return next(fitting, most)


@functools.cache
def _mirrored() -> Any:
    """One strategy for the whole process: models made under two can't meet."""
    import tensorflow as tf

    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return tf.distribute.MirroredStrategy([d.name for d in tf.config.list_logical_devices(kind)])


def may_fuse() -> bool:
    """Whether `fused` helps here: in a graph of TensorFlow's, on one processor and no GPU."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    is_alone = tf.distribute.get_strategy().num_replicas_in_sync == 1
    return is_alone and not tf.executing_eagerly() and not tf.config.list_logical_devices("GPU")


def fused(function: Callable) -> Callable:
    """A function of tensors that XLA compiles, so that a chain of small operations is one loop."""
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)


def precision(wanted: str = "auto") -> str:
    """The Keras dtype policy to run a backbone in on this machine.

    "auto" is mixed_bfloat16 on a processor with bfloat16 dot-product or matrix units, or on a GPU
    of compute capability 8 or more; mixed_float16 on a GPU of 7; else float32.
    """
    if wanted != "auto":
        return wanted
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        major, _ = tf.config.experimental.get_device_details(gpus[0]).get(
            "compute_capability", (0, 0)
        )
        return "mixed_bfloat16" if major >= 8 else "mixed_float16" if major == 7 else "float32"
    return "mixed_bfloat16" if _cpu_flags() & {"amx_bf16", "avx512_bf16"} else "float32"


def _cpu_flags() -> set[str]:
    """The processor's features as Linux names them; empty on other systems."""
    try:
        found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return set()
    return set(found[1].split()) if found else set()
