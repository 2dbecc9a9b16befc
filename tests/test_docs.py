"""What the pages say is true; the tests are all run, once; the package is laid out as it has to be."""

from __future__ import annotations

import ast
import contextlib
import html
import importlib
import inspect
import itertools
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
DOCS = ROOT / "docs"
API = DOCS / "api.md"
GUARANTEES = DOCS / "guarantees.md"
UNITS = {"": 1, "s": 1, "MiB": 1024 * 1024}

# Their programs need toolkits, tools and a server, and have tests of their own.
RUN_ELSEWHERE = {"toolkits.md", "tools.md", "cluster.md"}


def blocks(page: Path, language: str) -> list:
    """Return the blocks of a page that are of this language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def anchors(page: Path) -> list:
    """Return what a link can have behind its #, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings]


def parameters_of(function) -> list:
    """Return name, kind and default of each; without types, and without self."""
    found = inspect.signature(function).parameters.values()
    return [(found.name, found.kind, found.default) for found in found if found.name != "self"]


@unittest.skipUnless(README.is_file(), "no README.md here")
class TestPages(SingletonTestCase):
    """The programs of README.md and docs run, their figures are those of the code, their names exist."""

    def setUp(self):
        super().setUp()
        self.folder = self.make_folder()
        # The key that goes with a name is not the one of who runs the tests.
        self.home = {"HOME": str(self.folder), "LOCALAPPDATA": str(self.folder)}

    def programs(self, page):
        """Return the Python blocks of a page, each saved as a program with ports and names of its own."""
        paths = []
        for block in blocks(page, "python"):
            ports = {port: str(free_port()) for port in re.findall(r"\b14\d\d\d\b", block)}
            program = re.sub(r"\b14\d\d\d\b", lambda found, ports=ports: ports[found.group()], block)
            program = program.replace("org.example.", f"org.example.test-{self.port}.")
            paths.append(self.folder / f"{page.stem}_{len(paths)}.py")
            paths[-1].write_text(program, encoding="utf-8")
        return paths

    # -- programs --

    def test_each_python_block_is_a_program_that_runs(self):
        outputs = []
        for page in (README, *sorted(DOCS.glob("*.md"))):
            for path in self.programs(page) if page.name not in RUN_ELSEWHERE else ():
                with self.subTest(path.name, text=path.read_text(encoding="utf-8")):
                    program = self.start(path, env=self.home)
                    with contextlib.suppress(BrokenPipeError):  # not all of them read it
                        program.write("\n")
                    self.finish(program)
                    self.assertEqual(program.err, "")
                    outputs.append(program.out)
        self.assertIn("b'\\x06' (('hello', 'two words'),)", outputs)
        self.assertIn("on the main thread: ('report.txt',)", outputs)
        self.assertIn("2 files", outputs)
        self.assertTrue(any(re.fullmatch(r"True\n\d+", output) for output in outputs), outputs)

    def test_the_first_example_does_what_is_said_of_it(self):
        app = self.programs(README)[0]
        first = self.start(app, "a.txt", ready="Press Enter to end.", env=self.home)
        second = self.finish(self.start(app, "b.txt", "c d.txt", env=self.home))
        self.assertEqual((second.out, second.err), ("", ""))
        first.expect("opening b.txt c d.txt")
        first.write("\n")
        self.finish(first)
        self.assertEqual(first.lines[0], "opening a.txt")

    def test_the_picture_shows_what_the_quickstart_prints(self):
        program = self.finish(self.start(ROOT / "examples" / "quickstart.py", self.port))
        picture = html.unescape((DOCS / "quickstart.svg").read_text(encoding="utf-8")).replace("\xa0", " ")
        lines = re.findall(r"^(?:\$ .*|.* prints: .*)$", program.out, re.MULTILINE)
        self.assertEqual(len(lines), 4, program.out)
        for line in lines:
            self.assertIn(line.partition(" prints: ")[2] or line, picture)

    def test_the_shell_commands_work_together(self):
        [block] = blocks(API, "sh")
        block = block.replace("14180", str(self.port)).replace("backup", f"backup-{self.port}")
        watch, status, send, run = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
        watching = self.start(*watch)
        wait_until(lambda: package.Socket_Singleton.is_running(port=self.port), "watch is the host")
        said = self.finish(self.start(*status)).out
        self.assertEqual(said, f"127.0.0.1 port {self.port}: somebody listens")
        self.assertEqual(self.finish(self.start(*send)).out, "")
        watching.expect('["open", "my file.txt"]')
        run[run.index("python")] = sys.executable
        self.assertEqual(self.finish(self.start(*run, env=self.home)).out, "one at a time")

    @unittest.skipUnless(shutil.which("bash") and os.name != "nt", "there is no bash")
    def test_the_client_in_bash(self):
        """It waits the 5 seconds that a peer has; cut short, it does not wait, and is not told."""
        [block] = blocks(DOCS / "questions.md", "bash")
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

    # -- figures and names --

    def test_limits_are_those_of_the_code(self):
        text = GUARANTEES.read_text(encoding="utf-8")
        rows = re.findall(r"^\|[^|]*\| ([\d.]+) ?(\w*) \| `(\w+)\.(\w+)` \|$", text, re.MULTILINE)
        self.assertEqual(len(rows), text.partition("| constant |")[2].count("\n| "))
        for number, unit, module, name in rows:
            with self.subTest(name):
                constant = getattr(importlib.import_module(f"Socket_Singleton.{module}"), name)
                self.assertEqual(float(number) * UNITS[unit], constant)

    def test_parameters_and_defaults_are_those_of_the_class(self):
        text = API.read_text(encoding="utf-8")
        parameters = {name: default for name, _, default in parameters_of(package.Socket_Singleton)}
        heading = re.search(r"^```\nSocket_Singleton\((.*?)\)\n```$", text, re.DOTALL | re.MULTILINE).group(1)
        self.assertEqual(self.described(heading), parameters_of(package.Socket_Singleton))
        rows = re.findall(r"^\| `(\w+)` \|[^|]*\| `([^`]*)` \|", text, re.MULTILINE)
        self.assertEqual({name: eval(default) for name, default in rows}, parameters)

    @staticmethod
    def described(parameters):
        """Return name, kind and default of each of ``parameters``, which is a text."""
        names = {}
        exec(f"def function({parameters}): pass", names)
        return parameters_of(names["function"])

    def test_methods_are_those_of_the_class(self):
        text = API.read_text(encoding="utf-8")
        table = text.partition("## Methods")[2].partition("\n\n|")[2].partition("\n\n")[0]
        rows = [row.split(" | ")[0] for row in table.splitlines()]
        methods = re.findall(r"`(?:Socket_Singleton\.)?(\w+)\((.*?)\)`", "\n".join(rows))
        for name, parameters in methods:
            with self.subTest(name):
                function = getattr(package.Socket_Singleton, name)
                self.assertEqual(self.described(parameters), parameters_of(function))
        there = {
            name for name, value in vars(package.Socket_Singleton).items() if self.is_method(name, value)
        }
        self.assertEqual({name for name, _ in methods}, there)

    @staticmethod
    def is_method(name, value):
        return not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, staticmethod))

    def test_public_names_are_all_described(self):
        text = API.read_text(encoding="utf-8")
        for name in [*dir(package.Socket_Singleton), *vars(package.MultipleSingletonsError())]:
            if not name.startswith("_"):
                self.assertRegex(text, rf"`(Socket_Singleton\.)?{name}\b")

    def test_subcommands_are_all_described(self):
        said = self.finish(self.start("-m", "Socket_Singleton", "--help")).out
        subcommands = re.findall(r"^    (\w+) +[A-Z]", said, re.MULTILINE)
        text = API.read_text(encoding="utf-8").partition("| subcommand |")[2]
        self.assertEqual(sorted(re.findall(r"^\| `(\w+)\b", text, re.MULTILINE)), sorted(subcommands))

    def test_the_version_is_that_of_the_changelog(self):
        changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        latest = re.search(r"^## \[([\d.]+)\]", changes, re.MULTILINE).group(1)
        self.assertEqual(latest, package.__version__)

    def test_tests_and_files_that_pages_name_exist(self):
        for page in (README, ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")):
            text = page.read_text(encoding="utf-8")
            for name, method in re.findall(r"`(?:tests\.)?(Test\w+)(?:\.(test_\w+))?`", text):
                found = hasattr(getattr(tests, name, None), method or "setUp")
                self.assertTrue(found, f"{page.name}: {name} {method}")
            for name in re.findall(r"`(_\w+\.py)`", text):
                self.assertTrue((SOURCE / name).is_file(), f"{page.name}: {name}")
        rooms = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
        for path in SOURCE.glob("_[a-z_]*.py"):
            self.assertIn(f"`{path.name}`", rooms)

    def test_links_lead_somewhere(self):
        pages = (README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))
        linked = set()
        for page in pages:
            for path, anchor in re.findall(
                r"\]\(([\w./]*)(?:#([\w-]+))?\)", page.read_text(encoding="utf-8")
            ):
                target = page.parent / path if path else page
                self.assertTrue(target.exists(), f"{page.name}: {path}")
                if page == README:
                    linked.add(target.resolve())
                if anchor:
                    self.assertIn(anchor, anchors(target), f"{page.name}: {path}")
        self.assertEqual({page for page in DOCS.glob("*.md") if page.resolve() not in linked}, set())


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

    @unittest.skipUnless((ROOT / ".ci").is_dir(), "no .ci here")
    def test_all_that_is_installed_has_an_upper_bound(self):
        """Else what another project publishes turns the checks red."""
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        groups = project.split("[dependency-groups]")[1].split("[tool.")[0]
        wanted = re.findall(r'^(?:    |\w+ = \[)"([^"]+)"', groups, re.MULTILINE)
        commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        for command in re.findall(r"\bpip .*\binstall (.*)", commands):
            without_names = re.sub(r"--(group|target) \S+", "", command)
            words = shlex.shlex(without_names, posix=True, punctuation_chars=True)
            words.whitespace_split = True
            wanted += [
                word for word in itertools.takewhile(lambda word: word != ">", words) if word[0] not in "-$"
            ]
        self.assertGreater(len(wanted), 1)
        for requirement in wanted:
            self.assertRegex(requirement, "~=|==|<")

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
            self.assertRegex(program.err, r"OK( \(skipped=\d+\))?\Z")

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
