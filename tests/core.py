"""The tests of the package itself: all except those of pages, examples and tools.

    python -m unittest tests.core

`.ci/windows` runs these, since a process takes long to start under wine. The workflow runs all tests on real
Windows.
"""

from __future__ import annotations

from . import in_between

FILES = (
    *in_between.FILES,
    "test_closed_streams",
    "test_command",
    "test_identity",
    "test_named",
    "test_networks",
    "test_old_and_new",
    "test_promises",
    "test_relaunch",
    "test_web",
)

# Those of pages, examples and tools, and of the tests and tools of this tree.
OTHERS = (
    "test_cluster",
    "test_desktop_app",
    "test_docs",
    "test_examples",
    "test_how_to",
    "test_rooms",
    "test_services",
    "test_support",
    "test_toolkits",
    "test_tools",
    "test_verification",
)


def load_tests(loader, standard_tests, pattern):
    return loader.loadTestsFromNames([f"tests.{file}" for file in FILES])
