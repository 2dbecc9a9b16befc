"""The rooms of the package: imports go one way, and no room uses what is private to another."""

from __future__ import annotations

import ast
import sys
import unittest
from pathlib import Path

import Socket_Singleton as package

from .support import SilentTestCase, SingletonTestCase, once_for_all

SOURCE = Path(package.__file__).parent

# Modules that may know the class: its own, the one that makes it public, and the command line.
KNOW_THE_CLASS = {"_singleton", "__init__", "_command.parser", "_command.run", "_command.watch"}

# The only rooms that ask which system or which machine this is.
SYSTEM_ROOMS = {
    "_system",
    "_key_file",
    "_host.sockets",
    "_command.signals",
}

# Names with an underscore that are not ours, and why they are used all the same.
NOT_OURS = {
    "_inheriting": "how multiprocessing shows that a worker is importing the main module",
    "_exit": "os._exit: ends a process whose main thread cannot be asked to end",
    "_getframe": "sys._getframe: the stack, without importing inspect",
    "_accept": "what socket.accept calls, and all that _socket has",
    "_args_from_interpreter_flags": "of subprocess: multiprocessing starts workers with it",
    "_xoptions": "sys._xoptions, documented despite its name",
    "_initializing": "how importlib marks in __spec__ that a module is being imported",
}

# Modules that can be asked which system this is, and the attributes for that; sys.platform is also
# asked by type checkers.
ASKS_FOR_THE_SYSTEM = {"sys": {"platform", "getwindowsversion"}, "os": {"name", "uname"}}


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def dotted(node: ast.expr) -> str:
    """Return an expression as it is written, as far as it consists of names (3.7 has no `ast.unparse`)."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return f"{dotted(node.func)}({', '.join(map(dotted, node.args))})"
    return node.id if isinstance(node, ast.Name) else "..."


class Room:
    """One module of the package, as it is written."""

    def __init__(self, name: str, text: str, all_rooms=frozenset()) -> None:
        self.name = name  # with its wing: ``_host.peers``
        self.all_rooms = all_rooms
        self.tree = ast.parse(text)

    def imports(self):
        """Yield each import of this package, even for types: the room, and the names imported from it."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                wing = self.name.split(".")[:-1]
                above = wing[: len(wing) - (node.level - 1)]
                base = [*above, *(node.module.split(".") if node.module else ())]
                for alias in node.names:
                    # From a package: a room in it, or a public name of it.
                    room = ".".join([*base, alias.name])
                    if room not in self.all_rooms:
                        room = ".".join(base) or "__init__"
                    yield node, room, [alias.name]

    def private_reaches(self):
        """Yield each use of a name that is private to another module or object."""
        # A class may use its own private names, by its name or as `type(self)`.
        ours = {"self", "cls", "type(self)"}
        ours |= {node.name for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)}
        for node in ast.walk(self.tree):
            is_reach = isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in NOT_OURS
            if is_reach and dotted(node.value) not in ours:
                yield f"{self.name}.py:{node.lineno} {dotted(node)}"
        for node, room, names in self.imports():
            for name in names:
                if is_private(name) and room.split(".")[-1] != name:
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


def name_of(path: Path, folder: Path) -> str:
    *wing, stem = path.relative_to(folder).with_suffix("").parts
    return ".".join(wing if wing and stem == "__init__" else [*wing, stem])


def rooms_in(folder: Path) -> list[Room]:
    paths = sorted(folder.rglob("*.py"))
    names = frozenset(name_of(path, folder) for path in paths)
    return [Room(name_of(path, folder), path.read_text(encoding="utf-8"), names) for path in paths]


def cycles(rooms) -> list[str]:
    """Return the import cycles, each once, as ``a -> b -> a``."""
    arrows = {room.name: sorted({to for _, to, _ in room.imports()}) for room in rooms}
    found = {}

    def follow(way):
        for to in arrows.get(way[-1], ()):
            if to in way:
                cycle = way[way.index(to) :]
                found.setdefault(frozenset(cycle), " -> ".join([*cycle, to]))
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


@once_for_all
class TestRooms(SilentTestCase):
    def setUp(self) -> None:
        self.rooms = rooms_in(SOURCE)
        self.assertIn("_singleton", [room.name for room in self.rooms])

    def assert_none(self, found) -> None:
        found = list(found)
        self.assertEqual(found, [], f"{len(found)}:\n" + "\n".join(found))

    def test_imports_make_no_cycle(self):
        self.assert_none(cycles(self.rooms))

    def test_only_the_top_knows_the_class(self):
        self.assert_none(knows_the_class(self.rooms))

    def test_no_room_uses_what_is_private_to_another(self):
        self.assert_none(reach for room in self.rooms for reach in room.private_reaches())

    def test_rooms_that_each_launch_imports_import_no_other_wing(self):
        """Except for what it imports inside a function: as the host, or when it is asked for something."""
        for room in self.rooms:
            if "." in room.name or room.name in ("_host", "_command", "__main__"):
                continue
            at_the_top = [node for node in room.tree.body if isinstance(node, ast.ImportFrom)]
            with self.subTest(room.name):
                found = [to for node, to, _ in room.imports() if node in at_the_top]
                self.assertEqual([to for to in found if to.partition(".")[0] in ("_host", "_command")], [])

    def test_the_host_does_not_import_the_command_line(self):
        hosts = [room for room in self.rooms if room.name.partition(".")[0] == "_host"]
        found = {to for room in hosts for _, to, _ in room.imports()}
        self.assertEqual({to for to in found if to.startswith("_command")}, set())

    def test_only_system_rooms_ask_for_the_system(self):
        others = [room for room in self.rooms if room.name not in SYSTEM_ROOMS]
        self.assert_none(asked for room in others for asked in room.asks_for_the_system())
        self.assertLessEqual(SYSTEM_ROOMS, {room.name for room in self.rooms})

    def test_only_one_module_of_the_tests_uses_private_names(self):
        """Except for the names that code for 2.0.0 relies on, and tests of a single room."""
        kept = {"_listening", "_observers", "_arguments", "_clients", "_append_args"}
        others = {
            "anew": "._MEIPASS",  # of PyInstaller, for programs
            "in_loop": "._default_root",  # of tkinter
            "closing": "._default_root",
            "test_singleton": "._active_limbo_lock",  # of threading: a step of Python's own
            "cluster_app": "._enter",  # of the example that it subclasses
            "test_tools": "._kernel_spec",  # of jupyter_client
            "test_verification": "._replace",  # of a named tuple, which documents it
        }
        rooms = {
            "test_wire": {"_packet", "_host"},
            "test_web": {"_packet", "_host"},
            "test_platform": {*SYSTEM_ROOMS, "_wakeup", "_host", "_command"},
            "test_identity": {"_identity", "_key_file"},
            "test_proof": {"_proof", "_packet", "_host"},  # each uses terms of the other
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

    def test_these_checks_find_what_they_look_for(self):
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
            {"_worse"},
        )
        worse = Room("_worse", "if TYPE_CHECKING:\n    from . import _bad\n", {"_bad"})
        self.assertEqual(cycles([bad, worse]), ["_bad -> _worse -> _bad"])
        self.assertEqual(
            knows_the_class([bad, worse]),
            [
                "_bad.py:3 from ._singleton import _secret",
                "_bad.py:3 from ._singleton import Socket_Singleton",
            ],
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


# The modules that a second launch may import in addition to those of `python -c pass`, and why.
IMPORTED = {
    "__future__": "annotations are not evaluated, whatever they name",
    "_socket": "the sockets, without the enums that `socket` makes",
    "errno": "which errors say that the port is in use; built into the interpreter",
    "time": "the deadline; before CPython 3.8 `pass` does without it; built into the interpreter",
}

# With a name, these as well.
IMPORTED_WITH_A_NAME = {
    "_blake2": "the proof, without the OpenSSL that `hashlib` loads",
    "_operator": "to compare in constant time; built into the interpreter",
}

# On Windows, these as well.
IMPORTED_ON_WINDOWS = {
    "ctypes": "permission for the host to come to the front; with a name, the SID of this user",
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
    """What a second launch imports determines what it costs."""

    def imported(self, name: str = "", secret: str = "") -> set:
        app = self.singleton(name=name or None, secret=secret or None)
        # With `site`, as any `pass`, but without its effects: .pth files can import anything.
        launch = self.start("-S", "-c", SECOND_LAUNCH, self.port, name, secret)
        self.finish(launch)
        self.assertEqual(app.arguments, (("word",),))
        return set(launch.out.split())

    def test_of_a_second_launch(self):
        self.assertEqual(self.imported() - set(IMPORTED), set())

    def test_of_a_second_launch_with_a_name(self):
        self.assertEqual(self.imported("test", "key") - set(IMPORTED) - set(IMPORTED_WITH_A_NAME), set())
