"""Builds the documentation site from the pages in this folder and the docstrings of the package.

sphinx-build -W -n docs build/site
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "src"))

from Socket_Singleton import __version__  # noqa: E402

project = "Socket_Singleton"
author = "The Socket_Singleton contributors"
copyright = author  # noqa: A001 - the name that Sphinx reads
release = version = __version__
repository = "https://github.com/emboiko/Socket_Singleton"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # docstrings in Google's style
    "sphinx_copybutton",
    "sphinxcontrib.mermaid",
]
html_theme = "furo"
html_title = f"{project} {release}"
html_theme_options = {
    "source_repository": repository,
    "source_branch": "main",
    "source_directory": "docs/",
}
exclude_patterns = ["README.md"]
pygments_style, pygments_dark_style = "default", "monokai"

myst_heading_anchors = 4  # as GitHub makes them, so that links work in both places
myst_fence_as_directive = ["mermaid"]

add_module_names = False
python_maximum_signature_line_length = 88  # beyond it, a line for each parameter
default_role = "py:obj"  # `trace` in a docstring is a link to it
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
nitpick_ignore_regex = [
    ("py:class", r"P|P\.args|P\.kwargs"),  # what `trace` is called with, for type checkers
    # The standard library, without a look at docs.python.org, which not every network allows.
    ("py:.*", r"(asyncio|logging|multiprocessing|os|runpy|signal|subprocess|sys|threading)(\..*)?"),
]


# What is included in a page of the site.
INCLUDED = {"README.md": "docs/index.md", "CHANGELOG.md": "docs/changelog.md"}


def adapt_links(text: str, folder: str) -> str:
    """Return a page with links as the site needs them.

    In the repository they are relative to its ``folder``. On the site, links to what is not in docs
    lead to the repository. README and the changelog lie elsewhere, and are included in pages of docs.
    """

    def adapt(found: re.Match) -> str:
        mark, path = found.groups()
        path = posixpath.normpath(posixpath.join(folder, path))
        path = INCLUDED.get(path, path)
        if path.startswith("docs/") or mark.startswith("!"):
            return mark + posixpath.relpath(path, folder or "docs")
        return f"{mark}{repository}/blob/main/{path}"

    return re.sub(r"(!?\[[^][]*\]\()(?!\w+:)([^)#]+)", adapt, text)


def setup(app: Sphinx) -> None:
    def read(_: Sphinx, name: str, source: list[str]) -> None:
        folder = posixpath.dirname(posixpath.normpath(f"docs/{name}"))
        source[0] = adapt_links(source[0], folder)

    app.connect("source-read", read)
    app.connect("include-read", lambda app, path, _, source: read(app, path.as_posix(), source))
