"""Write a dataset's images and labels to TFRecords.

    python tools/write_tfrecords.py --dataset UTKFace --source path/to/UTKFace
    python tools/write_tfrecords.py --dataset path/to/images
    python tools/write_tfrecords.py --dataset faces.csv

Training commands do this by themselves where records are missing.
"""

import sys

from vggface_gender import datasets
from vggface_gender.base import console, options


def main() -> None:
    parser = options.Parser(description=__doc__.splitlines()[0])
    options.add_dataset_arguments(parser)
    arguments = parser.parse_args()
    datasets.prepare(**options.dataset_arguments(arguments))


if __name__ == "__main__":
    sys.exit(console.run(main))
