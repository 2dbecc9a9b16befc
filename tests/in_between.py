"""The tests for a Python between an older and a newer one that run all tests.

    python -m unittest tests.in_between

They concern what this package asks of the interpreter and the system. Pages, examples, tools, command lines
and storms of launches are left out, and races are repeated less often. Each condition on the version is
nevertheless tested both ways, as `TestLayout.test_each_condition_on_the_version_is_tested_both_ways` proves.
"""

from __future__ import annotations

from .support import repeat_less

FILES = (
    "test_answers",
    "test_breaches",
    "test_client",
    "test_delivery",
    "test_host",
    "test_inbox",
    "test_launch",
    "test_observers",
    "test_platform",
    "test_processes",
    "test_proof",
    "test_settings",
    "test_singleton",
    "test_today",
    "test_wire",
)


def load_tests(loader, standard_tests, pattern):
    repeat_less()
    return loader.loadTestsFromNames([f"tests.{file}" for file in FILES])
