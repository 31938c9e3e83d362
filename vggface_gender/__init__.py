"""Perceived gender, race and age from faces by transfer learning, in Keras 3 on TensorFlow.

Importing the package is cheap: Keras and TensorFlow load with the modules that need them
(`vggface_gender.backbones`, `vggface_gender.classifier`, ...).
"""

__version__ = "0.1.0"
