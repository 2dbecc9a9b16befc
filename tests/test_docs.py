"""What the pages say is true; the tests are all run, once; the package is laid out as it has to be."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import os
import re
import shlex
import shutil
import sys
import unittest
from pathlib import Path

import Socket_Singleton as package
import tests

from .support import ROOT, Collector, SingletonTestCase, free_port, wait_until

README = ROOT / "README.md"
UNITS = {"": 1, "s": 1, "MiB": 1024 * 1024}


@unittest.skipUnless(README.is_file(), "no README.md here")
class TestReadme(SingletonTestCase):
    """The programs in README.md run, its figures are those of the code, its names exist."""

    def setUp(self):
        super().setUp()
        self.text = README.read_text(encoding="utf-8")
        self.folder = self.make_folder()

    def programs(self):
        """Return its Python blocks, each saved as a program, with a free port for its own."""
        paths = []
        for number, block in enumerate(
            re.findall(r"^```python\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)
        ):
            port = re.search(r"port=(\d+)", block).group(1)
            paths.append(self.folder / f"app{number}.py")
            paths[-1].write_text(block.replace(port, str(free_port())), encoding="utf-8")
        return paths

    def test_each_python_block_is_a_program_that_runs(self):
        outputs = []
        for path in self.programs():
            with self.subTest(path.name, text=path.read_text(encoding="utf-8")):
                program = self.start(path)
                with contextlib.suppress(BrokenPipeError):  # not all of them read it
                    program.write("\n")
                self.finish(program)
                self.assertEqual(program.err, "")
                outputs.append(program.out)
        self.assertIn("b'\\x06' (('hello', 'two words'),)", outputs)
        self.assertIn("on the main thread: ('report.txt',)", outputs)

    def test_the_first_lines_do_what_is_said_of_them(self):
        app = self.programs()[0]
        first = self.start(app, "a.txt", ready="Press Enter to end.")
        second = self.finish(self.start(app, "b.txt", "c d.txt"))
        self.assertEqual((second.out, second.err), ("", ""))
        first.expect("opening b.txt c d.txt")
        first.write("\n")
        self.finish(first)
        self.assertEqual(first.lines[0], "opening a.txt")

    def test_the_shell_commands_work_together(self):
        block = re.search(r"^```sh\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE).group(1)
        block = block.replace("14180", str(self.port)).replace("14181", str(free_port()))
        watch, status, send, run = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
        watching = self.start(*watch)
        wait_until(lambda: package.Socket_Singleton.is_running(port=self.port), "watch is the host")
        said = self.finish(self.start(*status)).out
        self.assertEqual(said, f"127.0.0.1 port {self.port}: somebody listens")
        self.assertEqual(self.finish(self.start(*send)).out, "")
        watching.expect('["open", "my file.txt"]')
        run[run.index("python")] = sys.executable
        self.assertEqual(self.finish(self.start(*run)).out, "one at a time")

    @unittest.skipUnless(shutil.which("bash") and os.name != "nt", "there is no bash")
    def test_the_client_in_bash(self):
        """It waits the 5 seconds that a peer has; cut short, it does not wait, and is not told."""
        block = re.search(r"^```bash\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE).group(1)
        block = block.replace("14172", str(self.port))
        client, short = self.folder / "client.sh", self.folder / "short.sh"
        client.write_text(block, encoding="utf-8")
        short.write_text("".join(block.splitlines(True)[:2]), encoding="utf-8")
        nobody = self.bash(client, "x")
        self.assertEqual(nobody.wait(), 1, nobody.describe())
        app = self.singleton(notify_empty=True)
        launches = Collector()
        app.trace(launches)
        told = [self.bash(client, "first", "two words", "", "\u00fc"), self.bash(client)]
        self.finish(self.bash(short, "at once"))
        launches.wait_for(("at once",))
        for program in told:
            self.finish(program)
            self.assertEqual((program.out, program.err), ("", ""))
        wait_until(lambda: len(launches.calls) == 3, "three launches")
        self.assertEqual(set(launches.calls[1:]), {(), ("first", "two words", "", "\u00fc")})

    def bash(self, *command):
        return self.start_program(["bash", *command])

    def test_limits_are_those_of_the_code(self):
        rows = re.findall(r"^\|[^|]*\| ([\d.]+) ?(\w*) \| `(\w+)\.(\w+)` \|$", self.text, re.MULTILINE)
        self.assertGreater(len(rows), 4)
        for number, unit, module, name in rows:
            with self.subTest(name):
                constant = getattr(importlib.import_module(f"Socket_Singleton.{module}"), name)
                self.assertEqual(float(number) * UNITS[unit], constant)

    def test_parameters_and_defaults_are_those_of_the_class(self):
        signature = inspect.signature(package.Socket_Singleton)
        parameters = {name: parameter.default for name, parameter in signature.parameters.items()}
        heading = re.search(
            r"^```\nSocket_Singleton\((.*?)\)\n```$", self.text, re.DOTALL | re.MULTILINE
        ).group(1)
        self.assertEqual(eval(f"dict({heading.replace('*, ', '')})"), parameters)
        rows = re.findall(r"^\| `(\w+)` \|[^|]*\| `([^`]*)` \|", self.text, re.MULTILINE)
        self.assertEqual({name: eval(default) for name, default in rows}, parameters)

    def test_public_names_are_all_described(self):
        for name in dir(package.Socket_Singleton):
            if not name.startswith("_"):
                self.assertTrue(re.search(rf"`(Socket_Singleton\.)?{name}\b", self.text), name)

    def test_the_version_is_that_of_the_changelog(self):
        changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        latest = re.search(r"^## \[([\d.]+)\]", changes, re.MULTILINE).group(1)
        self.assertEqual(latest, package.__version__)

    def test_what_it_names_exists(self):
        for name in re.findall(r"`(Test\w+)`", self.text):
            self.assertTrue(hasattr(tests, name), name)
        for page in (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
            text = page.read_text(encoding="utf-8")
            for path, anchor in re.findall(r"\]\(([\w./]*)(?:#([\w-]+))?\)", text):
                target = page.parent / path if path else page
                self.assertTrue(target.exists(), f"{page.name}: {path}")
                if anchor:
                    headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
                    anchors = [
                        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
                        for heading in headings
                    ]
                    self.assertIn(anchor, anchors, f"{page.name}: {path}")


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
TOO_HEAVY = {
    "dataclasses",
    "enum",
    "hashlib",
    "hmac",
    "logging",
    "secrets",
    "selectors",
    "socket",
    "threading",
    "typing",
}

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
