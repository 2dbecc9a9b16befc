"""The rooms of the package: arrows go one way, and no room reaches for what is private to another."""

from __future__ import annotations

import ast
import unittest
from pathlib import Path

import Socket_Singleton as package

SOURCE = Path(package.__file__).parent

# Who may know the class: itself, what makes it public, and the command line.
KNOW_THE_CLASS = {"_singleton", "__init__", "__main__", "_run", "_watch"}

# What begins with an underscore and is not ours, and why it is used all the same.
NOT_OURS = {
    "_inheriting": "how multiprocessing tells that a worker imports the main module",
    "_exit": "os._exit: the end of a process whose main thread cannot be told to end",
    "_getframe": "sys._getframe: the stack, without importing inspect",
    "_initializing": "how importlib tells in a module's __spec__ that it is being imported",
}

# Modules that ask which system this is, and their attributes that do; sys.platform is asked by
# type checkers too.
ASKS_FOR_THE_SYSTEM = {"sys": {"platform", "getwindowsversion"}, "os": {"name", "uname"}}


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


class Room:
    """One module of the package, as it is written."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.tree = ast.parse(text)

    def imports(self):
        """Yield the room that each import of this package names, also for types, and the names from it."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                names = [alias.name for alias in node.names]
                if node.module:
                    yield node, node.module.split(".")[0], names
                else:
                    # From the package itself: a room, or what it makes public.
                    for name in names:
                        yield node, name if is_private(name) else "__init__", [name]

    def private_reaches(self):
        """Yield each use of a name that is private to another module or object."""
        own = self.own_private_names()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                if owner not in ("self", "cls") and node.attr not in NOT_OURS and node.attr not in own:
                    yield f"{self.name}.py:{node.lineno} {ast.unparse(node)}"
        for node, room, names in self.imports():
            for name in names:
                if is_private(name) and room not in ("__init__", name):
                    yield f"{self.name}.py:{node.lineno} from .{room} import {name}"

    def own_private_names(self):
        """Return what is private to a class of this room: its methods may look at another instance."""
        return {
            target.attr
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ClassDef) and is_private(node.name)
            for step in ast.walk(node)
            if isinstance(step, (ast.Assign, ast.AnnAssign))
            for target in (step.targets if isinstance(step, ast.Assign) else [step.target])
            if isinstance(target, ast.Attribute)
        }

    def asks_for_the_system(self):
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.attr in ASKS_FOR_THE_SYSTEM.get(node.value.id, ()) or node.value.id == "platform":
                    yield f"{self.name}.py:{node.lineno} {node.value.id}.{node.attr}"
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                if "platform" in names or (
                    isinstance(node, ast.ImportFrom) and names & ASKS_FOR_THE_SYSTEM.get(node.module, set())
                ):
                    yield f"{self.name}.py:{node.lineno} import of platform"


def rooms_in(folder: Path) -> list[Room]:
    return [Room(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.py"))]


def circles(rooms) -> list[str]:
    """Return the circles of imports, each once, as ``a -> b -> a``."""
    arrows = {room.name: sorted({to for _, to, _ in room.imports()}) for room in rooms}
    found = {}

    def follow(way):
        for to in arrows.get(way[-1], ()):
            if to in way:
                circle = way[way.index(to) :]
                found.setdefault(frozenset(circle), " -> ".join([*circle, to]))
            else:
                follow([*way, to])

    for name in arrows:
        follow([name])
    return sorted(found.values())


def knows_the_class(rooms) -> list[str]:
    return [
        f"{room.name}.py:{node.lineno} from .{to} import {', '.join(names)}"
        for room in rooms
        if room.name not in KNOW_THE_CLASS
        for node, to, names in room.imports()
        if to == "_singleton" or "Socket_Singleton" in names
    ]


class TestRooms(unittest.TestCase):
    def setUp(self) -> None:
        self.rooms = rooms_in(SOURCE)
        self.assertIn("_singleton", [room.name for room in self.rooms])

    def assert_none(self, found) -> None:
        found = list(found)
        self.assertEqual(found, [], f"{len(found)}:\n" + "\n".join(found))

    def test_imports_make_no_circle(self):
        self.assert_none(circles(self.rooms))

    def test_only_the_top_knows_the_class(self):
        self.assert_none(knows_the_class(self.rooms))

    def test_no_room_reaches_for_what_is_private_to_another(self):
        self.assert_none(reach for room in self.rooms for reach in room.private_reaches())

    def test_only_one_room_asks_for_the_system(self):
        others = [room for room in self.rooms if room.name != "_platform"]
        self.assert_none(asked for room in others for asked in room.asks_for_the_system())

    def test_these_checks_find_what_they_are_for(self):
        bad = Room(
            "_bad",
            "import os, sys, platform\n"
            "from os import name\n"
            "from ._singleton import _secret, Socket_Singleton\n"
            "from . import _worse\n"
            "def use(app):\n"
            "    app._host.start(); app.public._more; _worse._inside; os._exit(sys._getframe())\n"
            "    return sys.platform, os.name, platform.system(), self._own, cls._own\n",
        )
        worse = Room("_worse", "if TYPE_CHECKING:\n    from . import _bad\n")
        self.assertEqual(circles([bad, worse]), ["_bad -> _worse -> _bad"])
        self.assertEqual(
            knows_the_class([bad, worse]), ["_bad.py:3 from ._singleton import _secret, Socket_Singleton"]
        )
        self.assertEqual(
            sorted(bad.private_reaches()),
            [
                "_bad.py:3 from ._singleton import _secret",
                "_bad.py:6 _worse._inside",
                "_bad.py:6 app._host",
                "_bad.py:6 app.public._more",
            ],
        )
        self.assertEqual(
            sorted(bad.asks_for_the_system()),
            [
                "_bad.py:1 import of platform",
                "_bad.py:2 import of platform",
                "_bad.py:7 os.name",
                "_bad.py:7 platform.system",
                "_bad.py:7 sys.platform",
            ],
        )
