"""Sphinx's configuration: `make docs` builds the site into docs/_build/html, without a network.

Warnings are errors. `reference.py` writes the pages that are generated: of the commands, of the
library, and copies of what stands outside docs/.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

import reference

import vggface_gender

project = "vggface_gender"
author = "vggface_gender contributors"
copyright = author
version = release = vggface_gender.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxarg.ext",
]
exclude_patterns = ["_build"]
default_role = "code"  # single backticks in docstrings

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
napoleon_google_docstring = True
napoleon_numpy_docstring = False
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "exclude-members": "set_score_request",  # scikit-learn's own, on every estimator
}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = "vggface_gender"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}


def setup(app):
    """Have the generated pages written before Sphinx reads its sources."""
    reference.write()
    app.connect("source-read", reference.bend_links)
    app.connect("autodoc-skip-member", reference.skip_fields)
    app.connect("autodoc-process-docstring", reference.mark_code, priority=1)
