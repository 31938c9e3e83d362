"""Tell how the people in photos are perceived; `python -m vggface_gender.predict` is the same.

python tools/predict.py PHOTO... [--help]
"""

import sys

from vggface_gender.base import console
from vggface_gender.predict import main

if __name__ == "__main__":
    sys.exit(console.run(main))
