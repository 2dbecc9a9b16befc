"""What is compared: each subject takes a lock, and some hand launches over. A file for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bare_host import BareHost
from .connection import Connection
from .filelock import FileLock
from .floor import Floor
from .interpreter import Interpreter
from .local_server import LocalServer
from .named import Named
from .portalocker import PortaLocker
from .singleton import Beside, Released, This
from .tendo import Tendo

if TYPE_CHECKING:
    from .base import Subject

THIS, BESIDE, NAMED, OLD = This.name, Beside.name, Named.name, Released.name
FLOOR, BARE, PYTHON = Floor.name, BareHost.name, Interpreter.name

# In the order in which they are shown.
SUBJECTS: dict[str, type[Subject]] = {
    subject.name: subject
    for subject in (
        This,
        Beside,
        Named,
        Released,
        Floor,
        BareHost,
        Interpreter,
        FileLock,
        PortaLocker,
        Tendo,
        Connection,
        LocalServer,
    )
}
