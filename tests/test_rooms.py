"""The rooms of the package: arrows go one way, and no room reaches for what is private to another."""

from __future__ import annotations

import ast
import sys
import unittest
from pathlib import Path

import Socket_Singleton as package

from .support import SingletonTestCase

SOURCE = Path(package.__file__).parent

# Who may know the class: itself, what makes it public, and the command line.
KNOW_THE_CLASS = {"_singleton", "__init__", "__main__", "_run", "_watch"}

# What begins with an underscore and is not ours, and why it is used all the same.
NOT_OURS = {
    "_inheriting": "how multiprocessing tells that a worker imports the main module",
    "_exit": "os._exit: the end of a process whose main thread cannot be told to end",
    "_getframe": "sys._getframe: the stack, without importing inspect",
    "_accept": "what socket.accept calls, and _socket has alone",
    "_initializing": "how importlib tells in a module's __spec__ that it is being imported",
}

# Modules that ask which system this is, and their attributes that do; sys.platform is asked by
# type checkers too.
ASKS_FOR_THE_SYSTEM = {"sys": {"platform", "getwindowsversion"}, "os": {"name", "uname"}}


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def dotted(node: ast.expr) -> str:
    """Return an expression as it is written, as far as it is made of names (3.7 has no `ast.unparse`)."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return f"{dotted(node.func)}({', '.join(map(dotted, node.args))})"
    return node.id if isinstance(node, ast.Name) else "..."


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
        # A class may look at itself, by its name or as `type(self)`.
        ours = {"self", "cls", "type(self)"}
        ours |= {node.name for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)}
        for node in ast.walk(self.tree):
            is_reach = isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in NOT_OURS
            if is_reach and dotted(node.value) not in ours:
                yield f"{self.name}.py:{node.lineno} {dotted(node)}"
        for node, room, names in self.imports():
            for name in names:
                if is_private(name) and room not in ("__init__", name):
                    yield f"{self.name}.py:{node.lineno} from .{room} import {name}"

    def private_imports(self):
        """Yield the private names in absolute imports of the package."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and not node.level:
                first, *more = [*node.module.split("."), *(alias.name for alias in node.names)]
                yield from filter(is_private, more if first == "Socket_Singleton" else ())

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

    def test_tests_know_the_inside_in_one_module(self):
        """But for the names that code for 2.0.0 leans on, and the test of a room itself."""
        kept = {"_listening", "_observers", "_arguments", "_clients", "_append_args"}
        others = {
            "in_loop": "._default_root",  # of tkinter
            "test_singleton": "._active_limbo_lock",  # of threading: a step of Python's own
            "cluster_app": "._enter",  # of the example that it is a subclass of
            "test_tools": "._kernel_spec",  # of jupyter_client
            "test_verification": "._replace",  # of a named tuple, where it is public
        }
        rooms = {
            "test_wire": {"_wire"},
            "test_web": {"_wire"},
            "test_platform": {"_platform"},
            "test_identity": {"_identity"},
            "test_proof": {"_proof", "_wire"},  # the words of the one are in the other
        }
        tests = Path(__file__).parent
        for path in sorted(tests.glob("**/*.py")):
            room = Room(path.stem, path.read_text(encoding="utf-8"))
            if room.name == "inside":
                continue
            with self.subTest(path.name):
                allowed = (*(f".{name}" for name in kept), others.get(room.name, "."))
                reaches = [reach for reach in room.private_reaches() if not reach.endswith(allowed)]
                self.assert_none(reach for reach in reaches if " from ." not in reach)
                self.assert_none(set(room.private_imports()) - rooms.get(room.name, set()))

    def test_these_checks_find_what_they_are_for(self):
        bad = Room(
            "_bad",
            "import os, sys, platform\n"
            "from os import name\n"
            "from ._singleton import _secret, Socket_Singleton\n"
            "from . import _worse\n"
            "def use(app):\n"
            "    app._host.start(); app.public._more; _worse._inside; os._exit(sys._getframe())\n"
            "    make()._made; type(app)._more\n"
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
                "_bad.py:7 make()._made",
                "_bad.py:7 type(app)._more",
            ],
        )
        self.assertEqual(
            sorted(bad.asks_for_the_system()),
            [
                "_bad.py:1 import of platform",
                "_bad.py:2 import of platform",
                "_bad.py:8 os.name",
                "_bad.py:8 platform.system",
                "_bad.py:8 sys.platform",
            ],
        )


# The modules that a second launch may import beyond those of `python -c pass`, and why.
IMPORTED = {
    "__future__": "annotations are not evaluated, whatever they name",
    "_socket": "the sockets, without the enums that `socket` makes",
    "errno": "which errors say that the port is in use; built into the interpreter",
    "time": "the deadline; before CPython 3.8 `pass` does without it; built into the interpreter",
}

# With a name, also these.
IMPORTED_WITH_A_NAME = {
    "_blake2": "the proof, without the OpenSSL that `hashlib` loads",
    "_operator": "to compare in constant time; built into the interpreter",
}

# And on Windows these.
IMPORTED_ON_WINDOWS = {
    "ctypes": "leave for the host to come to the front; with a name, the SID of this user",
    **dict.fromkeys(("_ctypes", "_struct", "ctypes._endian", "ctypes.wintypes", "struct"), "by ctypes"),
}
if sys.platform == "win32":
    IMPORTED.update(IMPORTED_ON_WINDOWS)

SECOND_LAUNCH = """
import site, sys
bare = set(sys.modules)
from Socket_Singleton import Socket_Singleton
try:
    Socket_Singleton(port=sys.argv[1], argv=["word"], name=sys.argv[2] or None, secret=sys.argv[3] or None)
finally:
    print(*sorted(name for name in set(sys.modules) - bare if name.partition(".")[0] != "Socket_Singleton"))
"""


@unittest.skipUnless(sys.implementation.name == "cpython", "the list is that of CPython")
class TestImports(SingletonTestCase):
    """What a second launch imports is what it costs."""

    def imported(self, name: str = "", secret: str = "") -> set:
        app = self.singleton(name=name or None, secret=secret or None)
        # `site` as any `pass` has it, but not what it does: .pth files import what they like.
        launch = self.start("-S", "-c", SECOND_LAUNCH, self.port, name, secret)
        self.finish(launch)
        self.assertEqual(app.arguments, (("word",),))
        return set(launch.out.split())

    def test_of_a_second_launch(self):
        self.assertEqual(self.imported() - set(IMPORTED), set())

    def test_of_a_second_launch_with_a_name(self):
        self.assertEqual(self.imported("test", "key") - set(IMPORTED) - set(IMPORTED_WITH_A_NAME), set())
