"""Perceived gender, race and age from faces by transfer learning, in Keras 3 on TensorFlow.

Importing the package is cheap: Keras and TensorFlow load with the modules that need them
(`vggface_gender.backbones`, `vggface_gender.inference.classifier`, ...).
"""

import sys

__version__ = "0.2.0"

if sys.version_info < (3, 11):  # noqa: UP036 -- said here, before newer syntax is met
    sys.stderr.write(
        f"error: Python 3.11 or newer is needed, and this is {sys.version.split()[0]} "
        f"({sys.executable}): install another, and make the environment with it\n"
    )
    raise SystemExit(2)
