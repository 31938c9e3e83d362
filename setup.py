"""What pyproject.toml can't say: where there is a default classifier, it is installed too.

It is kept with the runs, in model_files/default, and becomes vggface_gender/default.
"""

from pathlib import Path

from setuptools import find_namespace_packages, setup

packages = find_namespace_packages(include=["vggface_gender*"])
places = {}
if Path("model_files/default/classifier.keras").is_file():
    packages.append("vggface_gender.default")
    places["vggface_gender.default"] = "model_files/default"

setup(packages=packages, package_dir=places)
