"""A module that constructs when it is imported, on the port in the environment; see late_import.py."""

import os

import inside

from Socket_Singleton import Socket_Singleton

app = Socket_Singleton(port=os.environ["PORT"])


def double(number):
    return 2 * number, inside.is_inert(app)
