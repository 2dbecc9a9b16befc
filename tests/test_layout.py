"""The tests are all run, once; and the package is laid out as it has to be."""

from __future__ import annotations

import ast
import importlib
import inspect
import unittest
from pathlib import Path

import Socket_Singleton as package

from .support import ROOT, SingletonTestCase

LIST_TESTS = """
import sys, unittest

def ids(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from ids(test)
        else:
            yield test.id()

loader = unittest.TestLoader()
how = sys.argv[1]
suite = loader.discover(".") if how == "discover" else loader.loadTestsFromName(how)
print(*ids(suite), sep="\\n")
"""

# Each takes milliseconds that importing the package must not cost, or is not
# needed by a launch that only hands over.
TOO_HEAVY = {"dataclasses", "hmac", "logging", "secrets", "threading", "typing"}

LIST_HEAVY = """
import sys
sys.path.insert(0, sys.argv[1])
bare = set(sys.modules)
import Socket_Singleton
print(*sorted(set(sys.modules) - bare), sep="\\n")
"""

SOURCE = Path(package.__file__).parent


def with_tests() -> list:
    """Return the classes of all files that have tests; those without are there to be inherited from."""
    found = []
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        module = importlib.import_module(f"tests.{path.stem}")
        found += [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, unittest.TestCase)
            and value.__module__ == module.__name__
            and unittest.defaultTestLoader.getTestCaseNames(value)
        ]
    return found


def trees() -> dict:
    """Return the parsed modules of the package."""
    found = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.glob("*.py")}
    assert "_singleton.py" in found
    return found


class TestLayout(SingletonTestCase):
    def collected(self, how: str) -> list:
        program = self.start("-c", LIST_TESTS, how)
        self.finish(program)
        self.assertEqual(program.err, "")
        return sorted(program.lines)

    # -- the tests --

    def test_every_class_is_reached_by_its_name(self):
        tests = importlib.import_module("tests")
        self.assertIn(type(self), with_tests())
        for value in with_tests():
            self.assertIs(getattr(tests, value.__name__, None), value, f"tests.{value.__name__}")

    def test_every_test_is_run_once(self):
        expected = sorted(
            f"{value.__module__}.{value.__name__}.{name}"
            for value in with_tests()
            for name in unittest.defaultTestLoader.getTestCaseNames(value)
        )
        self.assertEqual(len(set(expected)), len(expected))
        # `python -m unittest tests`, and without a name.
        for how in ("tests", "discover"):
            with self.subTest(how=how):
                self.assertEqual(self.collected(how), expected)

    def test_no_two_tests_of_a_class_have_one_name(self):
        """The second would replace the first, which is then silently never run."""
        for path in (ROOT / "tests").glob("test_*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    names = [x.name for x in node.body if isinstance(x, ast.FunctionDef)]
                    self.assertEqual(sorted(set(names)), sorted(names), f"{path.name}: {node.name}")

    def test_one_class_or_one_test_can_be_run(self):
        for name in ("tests.TestArgumentPassing", "tests.TestArgumentPassing.test_multiple_observers"):
            program = self.finish(self.start("-m", "unittest", name))
            self.assertRegex(program.err, r"Ran [1-9]\d* tests? in ")
            self.assertRegex(program.err, r"OK\Z")

    # -- the package --

    def test_public_names(self):
        self.assertEqual(sorted(package.__all__), ["MultipleSingletonsError", "Socket_Singleton"])
        self.assertRegex(package.__version__, r"\A\d+\.\d+\.\d+\Z")
        self.assertTrue((SOURCE / "py.typed").is_file())

    def test_every_public_name_has_a_docstring(self):
        for file, tree in trees().items():
            module = "Socket_Singleton" if file == "__init__.py" else f"Socket_Singleton.{file[:-3]}"
            values = {module: importlib.import_module(module)}
            for node in tree.body:
                if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
                    value = getattr(values[module], node.name)
                    values[f"{module}.{node.name}"] = value
                    for name in vars(value) if inspect.isclass(value) else ():
                        member = inspect.getattr_static(value, name)
                        if not name.startswith("_") and (
                            callable(member) or isinstance(member, (property, staticmethod))
                        ):
                            values[f"{module}.{node.name}.{name}"] = getattr(value, name)
            for name, value in values.items():
                self.assertTrue(inspect.getdoc(value), f"{name} has no docstring")

    def test_modules_import_each_other_relatively(self):
        for file, tree in trees().items():
            for node in ast.walk(tree):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module]
                for name in names:
                    self.assertNotIn(name.split(".")[0], ("Socket_Singleton", "src"), f"{file}:{node.lineno}")

    def test_importing_is_cheap(self):
        """On a bare interpreter: with site, the environment's own start-up files may import anything."""
        program = self.finish(self.start("-I", "-S", "-c", LIST_HEAVY, SOURCE.parent))
        self.assertIn("Socket_Singleton._singleton", program.lines)
        self.assertIn("socket", program.lines)
        self.assertEqual(TOO_HEAVY & set(program.lines), set())

    def test_a_second_launch_imports_no_host(self):
        """Most launches are never a host, and do not wait for one to be imported."""
        self.singleton()
        code = (
            "import sys; from Socket_Singleton import *\n"
            "try: Socket_Singleton(port=sys.argv.pop(1), strict=False)\n"
            "except MultipleSingletonsError: print(*sorted(sys.modules), sep='\\n')"
        )
        program = self.finish(self.start("-c", code, self.port))
        self.assertIn("Socket_Singleton._client", program.lines)
        for name in ("_host", "_delivery"):
            self.assertNotIn(f"Socket_Singleton.{name}", program.lines)

    def test_import_from_src_needs_nothing_else(self):
        if not (ROOT / "src").is_dir():
            self.skipTest("there is no source tree beside these tests")
        code = (
            "import sys; sys.path.insert(0, ''); from src.Socket_Singleton import Socket_Singleton as one;"
            f"app = one(port={self.port}); app.trace(print); app.release();"
            "print(app, 'Socket_Singleton' in sys.modules)"
        )
        program = self.finish(self.start("-I", "-S", "-c", code, cwd=ROOT))
        self.assertEqual(program.lines, [f"Socket_Singleton(address='127.0.0.1', port={self.port}) False"])
