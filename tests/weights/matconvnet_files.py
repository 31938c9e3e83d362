"""MatConvNet files for tests: small VGG-Face look-alikes in every layout that is published.

The network is written out here on its own, not taken from the package, so that a test compares two
accounts of it.
"""

import subprocess
from pathlib import Path

import h5py
import numpy as np
import scipy.io

# Every width differs from the others, so that no two axes can be swapped unnoticed.
SMALL = {
    "channels": ((16, 17), (18, 19), (20, 21, 22), (23, 24, 25), (26, 27, 28)),
    "size": 64,
    "dense": 29,
    "identities": 12,
}
MEAN = (129.1863, 104.7624, 93.5940)


def network(
    channels=SMALL["channels"],
    size=SMALL["size"],
    dense=SMALL["dense"],
    identities=SMALL["identities"],
    *,
    dropout=True,
    seed=0,
    dtype=np.float32,
    older=False,
    bias_axis=0,
    vectors=True,
) -> list[dict]:
    """A network's layers as MATLAB would hold them, with random weights.

    Args:
        older: `filters` and `biases` in place of `weights`.
        bias_axis: 0 for biases as columns, 1 for rows.
        vectors: strides and pads as vectors, else as scalars.
    """
    random = np.random.default_rng(seed)

    def conv(name, shape, pad):
        spread = np.sqrt(2 / np.prod(shape[:3])).astype(dtype)
        kernel = random.standard_normal(shape, dtype) * spread
        bias = np.expand_dims(random.standard_normal(shape[3], dtype), 1 - bias_axis)
        fields = {"type": "conv", "name": name}
        fields |= (
            {"filters": kernel, "biases": bias} if older else {"weights": cell([kernel, bias])}
        )
        if vectors:
            return fields | {"stride": [1.0, 1.0], "pad": [pad] * 4}
        return fields | {"stride": 1.0, "pad": pad}

    layers, depth = [], 3
    for block, widths in enumerate(channels, 1):
        for number, width in enumerate(widths, 1):
            layers.append(conv(f"conv{block}_{number}", (3, 3, depth, width), 1.0))
            layers.append({"type": "relu", "name": f"relu{block}_{number}"})
            depth = width
        pool = {"name": f"pool{block}", "type": "pool", "method": "max"}
        pool |= {"pool": [2.0, 2.0], "stride": [2.0, 2.0], "pad": [0.0, 1.0, 0.0, 1.0]}
        layers.append(pool if vectors else pool | {"pool": 2.0, "stride": 2.0, "pad": 0.0})
    side = size // 32
    for number, shape in ((6, (side, side, depth, dense)), (7, (1, 1, dense, dense))):
        layers += [conv(f"fc{number}", shape, 0.0), {"name": f"relu{number}", "type": "relu"}]
        if dropout:
            layers.append({"name": f"dropout{number}", "type": "dropout", "rate": 0.5})
    layers.append(conv("fc8", (1, 1, dense, identities), 0.0))
    layers.append({"name": "prob", "type": "softmax"})
    return layers


def layer(layers: list[dict], name: str) -> dict:
    return next(layer for layer in layers if layer["name"] == name)


def names(count: int) -> list[str]:
    return [f"Person {number}" for number in range(count)]


def contents(layers: list[dict], *, layout: str, mean=MEAN, identities=None) -> dict:
    """A file's variables: `layout` is "oxford" (all in `net`) or "matconvnet" (at the top)."""
    if identities is None:
        identities = names(SMALL["identities"])
    mean = np.asarray(mean, np.float32).reshape((1, 1, 3) if np.ndim(mean) == 1 else np.shape(mean))
    normalization = {"imageSize": [224.0, 224.0, 3.0], "averageImage": mean}
    normalization |= {"border": [32.0, 32.0], "interpolation": "bicubic", "rgbVariance": np.eye(3)}
    classes = {"description": cell(identities, column=True)}
    if layout == "oxford":
        return {"net": {"normalization": normalization, "layers": cell(layers), "classes": classes}}
    meta = {"classes": classes, "normalization": normalization}
    return {"layers": cell(layers), "meta": meta}


def cell(values: list, column: bool = False) -> np.ndarray:
    """A MATLAB cell array, which SciPy writes from an array of objects."""
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape((-1, 1) if column else (1, -1))


def write(path: Path, layers: list[dict], *, layout="matconvnet", version="7", **others) -> Path:
    """Write a `.mat` file of version "5" (plain), "7" (compressed) or "7.3" (HDF5)."""
    variables = contents(layers, layout=layout, **others)
    if version == "7.3":
        _write_hdf5(path, variables)
    else:
        scipy.io.savemat(path, variables, do_compression=version == "7")
    return path


def _write_hdf5(path: Path, variables: dict) -> None:
    """MATLAB's v7.3: structs are groups, cells hold references, axes are in reverse order."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            _put(file, file, name, value)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
        file.write(bytes(8) + b"\x00\x02" + b"IM")


def _put(file: h5py.File, group: h5py.Group, name: str, value: object) -> h5py.HLObject:
    if isinstance(value, dict):
        item, kind = group.create_group(name), "struct"
        for field, inner in value.items():
            _put(file, item, field, inner)
    elif isinstance(value, str):
        codes = np.array([[ord(character)] for character in value], np.uint16)
        item, kind = group.create_dataset(name, data=codes), "char"
    elif isinstance(value, np.ndarray) and value.dtype == object:
        references = file.require_group("#refs#")
        items = [_put(file, references, str(len(references)), inner) for inner in value.flat]
        kind = "cell"
        item = group.create_dataset(name, value.T.shape, h5py.ref_dtype)
        item[...] = np.array([inner.ref for inner in items], object).reshape(value.T.shape)
    else:
        array = np.atleast_2d(np.asarray(value))
        item = group.create_dataset(name, data=array.T)
        kind = {"float32": "single", "float64": "double"}[array.dtype.name]
    item.attrs["MATLAB_class"] = np.bytes_(kind)
    return item


def write_with_octave(path: Path, layers: list[dict], *, layout: str, flag: str) -> Path:
    """Have Octave build the network from plain matrices and write it; `flag` is "-v6" or "-v7"."""
    matrices, script = {}, ["layers = {};"]

    def matlab(value) -> str:
        """The value as an expression: a text, or the names of matrices that Octave will load."""
        if isinstance(value, str):
            return f"'{value}'"
        if isinstance(value, np.ndarray) and value.dtype == object:
            return f"{{{', '.join(map(matlab, value.flat))}}}"
        matrices[f"matrix{len(matrices)}"] = value
        return f"matrix{len(matrices) - 1}"

    for fields in layers:
        script.append("layer = struct();")
        script += [f"layer.{field} = {matlab(value)};" for field, value in fields.items()]
        script.append("layers{end + 1} = layer;")
    people = matlab(cell(names(SMALL["identities"])))
    mean = matlab(np.reshape(MEAN, (1, 1, 3)).astype(np.float32))
    script.append(f"normalization.averageImage = {mean};")
    script.append(f"classes.description = {people}';")
    if layout == "oxford":
        script.append("net.layers = layers; net.normalization = normalization;")
        script.append(f"net.classes = classes; save('{flag}', '{path}', 'net');")
    else:
        script.append("meta.normalization = normalization; meta.classes = classes;")
        script.append(f"save('{flag}', '{path}', 'layers', 'meta');")

    source = path.with_suffix(".matrices.mat")
    scipy.io.savemat(source, matrices)
    program = "\n".join([f"load('{source}');", *script])
    subprocess.run(["octave-cli", "--norc", "--eval", program], check=True, timeout=120)
    return path
