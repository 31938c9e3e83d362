"""The extras of an installation: which of them brings what is not there."""

import importlib.util

from vggface_gender.base.errors import InputError

# Modules by the extra that brings them. What every installation has is not here.
EXTRAS = {
    "train": (
        *("tensorflow", "keras", "tensorflow_datasets", "absl", "h5py", "pymatreader"),
        *("threadpoolctl", "tensorboard", "importlib_resources"),
    ),
    "report": (
        *("pandas", "scipy", "statsmodels", "sklearn", "fairlearn"),
        *("matplotlib", "jinja2", "markupsafe", "tabulate"),
    ),
    "export": ("onnx", "tf2onnx"),
    "serve": ("fastapi", "uvicorn", "starlette", "python_multipart", "prometheus_client"),
    "parquet": ("pyarrow",),
    "heif": ("pi_heif",),
    "track": ("mlflow", "trackio"),
    "beam": ("apache_beam", "fsspec"),
}


def of(module: str) -> str | None:
    """The extra that brings a module; None of one that every installation has.

    >>> of("keras.layers")
    'train'
    """
    library = module.partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if library in modules), None)


def remedy(extra: str) -> str:
    """What brings an extra.

    >>> remedy("train")
    'pip install "vggface-gender[train]"'
    """
    return f'pip install "vggface-gender[{extra}]"'


def absence(module: str) -> str:
    """What is said of a module that is not there.

    >>> absence("keras")
    'this takes keras, which is not installed: pip install "vggface-gender[train]"'
    """
    extra = of(module)
    assert extra is not None, module
    return f"this takes {module}, which is not installed: {remedy(extra)}"


def is_here() -> bool:
    """Whether what every installation has is there: else this is another interpreter than the one
    that the package was installed in."""
    return importlib.util.find_spec("onnxruntime") is not None


def missing(extra: str) -> str | None:
    """A module of an extra that is not there; None where all are."""
    return next((name for name in EXTRAS[extra] if not importlib.util.find_spec(name)), None)


def require(module: str) -> None:
    """Refuse what takes a module that is not there.

    Raises:
        InputError: it is not; the line names the extra that brings it.
    """
    if not importlib.util.find_spec(module):
        raise InputError(absence(module))
