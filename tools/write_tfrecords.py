"""Write a dataset's images and labels to TFRecords.

    python tools/write_tfrecords.py --dataset UTKFace --source path/to/UTKFace
    python tools/write_tfrecords.py --dataset path/to/images
    python tools/write_tfrecords.py --dataset faces.csv

Training commands do this by themselves where records are missing.
"""

import sys

from vggface_gender import command, datasets


def main() -> None:
    parser = command.Parser(description=__doc__.splitlines()[0])
    command.add_dataset_arguments(parser)
    arguments = parser.parse_args()
    datasets.prepare(**command.dataset_arguments(arguments))


if __name__ == "__main__":
    sys.exit(command.run(main))
