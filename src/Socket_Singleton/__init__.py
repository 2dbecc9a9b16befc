"""One instance of an application at a time: later launches forward their arguments to it and exit.

The first launch binds a TCP port and is the host; each later launch hands its
command line to the host and ends. Everything public is here: the class
:class:`Socket_Singleton`, the exception :class:`MultipleSingletonsError`, and
:class:`Launch`, which is what observers are called with.
"""

from ._singleton import MultipleSingletonsError, Socket_Singleton

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._host.launch import Launch as Launch

__all__ = ["Launch", "MultipleSingletonsError", "Socket_Singleton"]
__version__: str = "2.1.0"


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # A second launch has no use for it.
        if name == "Launch":
            from ._host.launch import Launch

            return Launch
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
