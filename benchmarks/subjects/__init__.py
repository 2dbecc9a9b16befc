"""What is compared: each subject takes a lock, and some hand launches over."""

from __future__ import annotations

from .bare import Bare, Interpreter
from .base import Subject
from .others import Connection, FileLock, LocalServer, Tendo
from .singleton import Beside, Named, Released, This

THIS, BESIDE, NAMED, OLD = This.name, Beside.name, Named.name, Released.name
PYTHON, BARE = Interpreter.name, Bare.name

# In the order in which they are shown.
EVERY = (This, Named, Beside, Released, Interpreter, Bare, FileLock, Tendo, Connection, LocalServer)
SUBJECTS: dict[str, type[Subject]] = {subject.name: subject for subject in EVERY}
