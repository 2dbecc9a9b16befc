"""One instance of an application at a time, and its arguments handed to the one that runs.

The first launch binds a TCP port and is the host; each later launch hands its
command line to the host and ends. Everything public is here: the class
:class:`Socket_Singleton` and the exception :class:`MultipleSingletonsError`.
"""

from ._singleton import MultipleSingletonsError, Socket_Singleton

__all__ = ["MultipleSingletonsError", "Socket_Singleton"]
__version__: str = "2.1.0"
