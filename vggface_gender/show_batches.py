"""Write a sheet of a dataset's training crops as a training sees them, augmented, to look at.

    python tools/show_batches.py --dataset UTKFace --out crops.png
    python tools/show_batches.py --dataset UTKFace --augment rotation=20 erasing=1 --out crops.png

Each row begins with a crop as it is; what follows are that crop's augmented copies.
"""

import sys
from pathlib import Path

from vggface_gender.base import console, files, options
from vggface_gender.training import tuning


def main() -> None:
    parser = options.Parser(description=__doc__.splitlines()[0])
    options.add_dataset_arguments(parser)
    tuning.add_augmentation_arguments(parser)
    parser.add_argument("--size", type=options.positive, default=150, metavar="N", help="in pixels")
    parser.add_argument("--rows", type=options.positive, default=8, metavar="N", help="crops")
    parser.add_argument("--columns", type=options.positive, default=10, metavar="N", help="copies")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of crops and changes")
    parser.add_argument("--out", type=Path, default="crops.png", help="the picture's file")
    arguments = parser.parse_args()
    amounts = tuning.amounts(arguments.augment)

    from vggface_gender.base import device

    device.start(arguments.seed)
    import numpy as np
    from PIL import Image

    from vggface_gender.data import augmentation, records
    from vggface_gender.datasets import mixes

    mixed = mixes.prepare(**options.dataset_arguments(arguments))
    rng = np.random.default_rng(arguments.seed)
    images = [
        (jpeg, records.frame_of(part.dataset, arguments.padding))
        for part in mixed.parts
        for jpeg in records.jpegs(part.dataset, "train")
    ]
    chosen = rng.choice(len(images), min(arguments.rows, len(images)), replace=False)
    jpegs, frames = zip(*(images[place] for place in chosen), strict=True)
    rows = np.arange(len(jpegs))
    columns = [
        records.read_crops(list(jpegs), np.array(frames), arguments.size, how)(rows, rng)
        for how in [augmentation.NONE] + [amounts] * arguments.columns
    ]
    crops = np.stack(columns, axis=1).reshape(-1, arguments.size, arguments.size, 3)
    with files.whole(arguments.out) as part:
        Image.fromarray(records.sheet(crops, len(columns))).save(part)
    print(f"{len(rows)} crops and {arguments.columns} augmented copies of each: {arguments.out}")


if __name__ == "__main__":
    sys.exit(console.run(main))
