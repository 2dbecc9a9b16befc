"""What the pages say is true; each test is run once; the package is laid out as it should be."""

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
import types
import unittest
from pathlib import Path

import Socket_Singleton as package
import tests

from . import core, in_between
from .pages import HomeTestCase, blocks, check_deleted_folder, sections, with_names_of_its_own
from .support import (
    ROOT,
    Collector,
    SingletonTestCase,
    free_port,
    inside,
    once_for_all,
    wait_until,
)

README = ROOT / "README.md"
DOCS = ROOT / "docs"
GUARANTEES = DOCS / "guarantees.md"
UNITS = {"KiB": 1024, "": 1, "s": 1, "MiB": 1024 * 1024}

# Their programs need toolkits, tools, a server or a conversation; they have tests of their own.
RUN_ELSEWHERE = {
    "toolkits.md": "test_toolkits.py",
    "front.md": "test_toolkits.py",
    "closing.md": "test_toolkits.py test_how_to.py",
    "tools.md": "test_tools.py",
    "cluster.md": "test_cluster.py",
    **{
        f"{page}.md": "test_how_to.py"
        for page in ("options", "batches", "commands", "services", "jobs", "testing", "existing")
    },
}


def pages() -> list[Path]:
    """Return the pages of the documentation, except those that only the site has."""
    return sorted(DOCS.rglob("*.md"))


def anchors(page: Path) -> list:
    """Return what may follow the # in a link, as GitHub derives it from headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings]


def is_about_the_version(node: ast.AST) -> bool:
    return any(getattr(child, "attr", None) == "version_info" for child in ast.walk(node))


def without_constants(tree: ast.Module, names: set):
    """Yield the nodes of a module, except what stands in the assignments to these names."""
    for statement in tree.body:
        if not (isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", None) in names):
            yield from ast.walk(statement)


def parameters_of(function) -> list:
    """Return the names of its parameters, without self."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


@unittest.skipUnless(README.is_file(), "no README.md here")
class TestPages(HomeTestCase):
    """The programs in README.md and docs run, their figures are those of the code, their names exist."""

    def programs(self, page):
        """Return the paths of a page's Python blocks, saved as programs with ports and names of their own."""
        paths = []
        for block in blocks(page, "python"):
            if "PySide6" in block:  # tested in TestToolkits
                continue
            program = with_names_of_its_own(block, self.port, [free_port(), free_port()])
            paths.append(self.folder / f"{page.stem}_{len(paths)}.py")
            paths[-1].write_text(program, encoding="utf-8")
        return paths

    # -- programs --

    def test_each_python_block_is_a_program_that_runs(self):
        outputs = []
        for page in (README, *pages()):
            for path in self.programs(page) if page.name not in RUN_ELSEWHERE else ():
                with self.subTest(path.name, text=path.read_text(encoding="utf-8")):
                    program = self.start(path)
                    with contextlib.suppress(BrokenPipeError):  # not all of them read it
                        program.write("\n")
                    self.finish(program)
                    self.assertEqual(program.err, "")
                    outputs.append(program.out)
        self.assertIn("b'\\x06' (('hello', 'two words'),)", outputs)
        self.assertIn("counting a.txt b.txt\n2", outputs)
        self.assertIn("step 1 of 3\nstep 2 of 3\nstep 3 of 3", outputs)
        zero = "ZeroDivisionError"
        self.assertIn(f"reported: {zero} division by zero\nanswered: {zero}: division by zero", outputs)
        self.assertTrue(any(re.fullmatch(r"True\n\d+", output) for output in outputs), outputs)

    def test_programs_that_other_tests_should_run_are_run(self):
        for page in pages():
            if page.name in RUN_ELSEWHERE and page.name != "cluster.md":
                files = [ROOT / "tests" / name for name in RUN_ELSEWHERE[page.name].split()]
                run = "".join(path.read_text(encoding="utf-8") for path in files)
                for section, text in sections(page).items():
                    if "```python\n" in text:
                        self.assertIn(f'"{section}"', run, f"{page.name}: {section}")

    def test_the_first_example_does_what_the_readme_says(self):
        app, here, there = self.programs(README)[0], self.make_folder(), self.make_folder()
        first = self.start(app, "a.txt", ready="Press Enter to quit.", cwd=here)
        second = self.finish(self.start(app, "b.txt", "c d.txt", cwd=there))
        self.assertEqual((second.out, second.err), ("", ""))
        first.expect(f"opening b.txt c d.txt in {there}")
        first.write("\n")
        self.finish(first)
        self.assertEqual(first.lines[0], f"opening a.txt in {here}")

    def test_the_most_common_uses_are_short(self):
        text = sections(README)["Three ways to use it"]
        programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        self.assertEqual(len(programs), 3)
        for program in programs:
            self.assertLessEqual(len(program.splitlines()), 8)

    @unittest.skipIf(os.name == "nt", "a current folder cannot be deleted there")
    def test_getting_started_in_a_folder_that_was_deleted(self):
        check_deleted_folder(self, self.programs(DOCS / "start.md")[-2])

    def test_the_answers_in_getting_started(self):
        path, here, there = self.programs(DOCS / "start.md")[-1], self.make_folder(), self.make_folder()
        first = self.start(path, ready="Running. Press Enter to quit.", cwd=here)
        (there / "a.txt").write_text("one\ntwo\n", encoding="utf-8")
        second = self.finish(self.start(path, "a.txt", cwd=there))
        self.assertEqual((second.out, second.err), ("2 a.txt", ""))
        second = self.finish(self.start(path, "missing.txt", cwd=there), status=1)
        self.assertEqual((second.out, second.err), ("", "There is no missing.txt."))
        first.write("\n")
        self.finish(first)

    def test_the_picture_shows_what_the_quickstart_prints(self):
        program = self.finish(self.start(ROOT / "examples" / "quickstart.py"))
        picture = html.unescape((DOCS / "quickstart.svg").read_text(encoding="utf-8")).replace("\xa0", " ")
        lines = re.findall(r"^(?:\$ .*|.* prints: .*)$", program.out, re.MULTILINE)
        self.assertEqual(len(lines), 4, program.out)
        for line in lines:
            self.assertIn(line.partition(" prints: ")[2] or line, picture)

    @unittest.skipUnless((ROOT / ".ci").is_dir(), "no .ci here")
    def test_the_commands_in_the_readme_are_run(self):
        [block] = re.findall(r"```\n(.*?)```", sections(README)["Try it"], re.DOTALL)
        run = "".join(
            path.read_text(encoding="utf-8")
            for path in (ROOT / ".ci" / "run", ROOT / "noxfile.py")
            if path.exists()
        )
        run = re.sub(r'[",]', "", run)  # around the words of a list
        self.assertEqual(len(block.splitlines()), 2)
        for command in block.splitlines():
            self.assertIn(command.partition("python ")[2], run)

    def test_the_shell_commands_work_together(self):
        block = with_names_of_its_own(blocks(DOCS / "command.md", "sh")[0], self.port, [self.port])
        lines = block.replace("backup", f"backup-{self.port}").splitlines()
        watch, status, send, run = [shlex.split(line, comments=True)[1:] for line in lines]
        watching = self.start(*watch)
        wait_until(lambda: package.Socket_Singleton.is_running(name=watch[-1]), "watch is the host")
        said = self.finish(self.start(*status)).out
        self.assertIn(str(watching.pid), said)
        self.assertEqual(self.finish(self.start(*send)).out, "")
        watching.expect('["open", "my file.txt"]')
        run[run.index("python")] = sys.executable
        self.assertEqual(self.finish(self.start(*run)).out, "one at a time")

    @unittest.skipUnless(shutil.which("sh") and os.name != "nt", "there is no sh")
    def test_a_script_starts_what_is_not_yet_running(self):
        script = with_names_of_its_own(blocks(DOCS / "command.md", "sh")[1], self.port, [self.port])
        script = script.replace("python ", f"'{sys.executable}' ")
        self.assertEqual(self.finish(self.start_program(["sh", "-c", script])).lines[-1:], ["start it"])
        with package.Socket_Singleton(name=f"org.example.test-{self.port}.words"):
            program = self.finish(self.start_program(["sh", "-c", script]), status=1)
        self.assertNotIn("start it", program.out)

    @unittest.skipUnless(shutil.which("bash") and os.name != "nt", "there is no bash")
    def test_the_client_in_bash(self):
        """It waits as long as a peer may; cut short, it does not wait and gets no acknowledgement."""
        self.enter(inside.limits(PEER_TIME=1))
        [block] = blocks(DOCS / "questions.md", "bash")
        block = with_names_of_its_own(block, self.port, [self.port])
        client, short = self.folder / "client.sh", self.folder / "short.sh"
        client.write_text(block, encoding="utf-8")
        short.write_text("".join(block.splitlines(True)[:2]), encoding="utf-8")
        nobody = self.bash(client, "x")
        self.assertEqual(nobody.wait(), 1, nobody.describe())
        self.assertIn(f"/dev/tcp/127.0.0.1/{self.port}", nobody.err)
        app = self.singleton(notify_empty=True)
        launches = Collector()
        app.trace(launches)
        acknowledged = [self.bash(client, "first", "two words", "", "\u00fc"), self.bash(client)]
        self.finish(self.bash(short, "at once"))
        launches.wait_for(("at once",))
        for program in acknowledged:
            self.finish(program)
            self.assertEqual((program.out, program.err), ("", ""))
        wait_until(lambda: len(launches.calls) == 3, "three launches")
        self.assertEqual(set(launches.calls[1:]), {(), ("first", "two words", "", "\u00fc")})

    def bash(self, *command):
        return self.start_program(["bash", *command])

    # -- figures and names --

    def test_limits_are_those_of_the_code(self):
        text = GUARANTEES.read_text(encoding="utf-8")
        rows = re.findall(r"^\|[^|]*\| ([\d.]+) ?(\w*) \| `([\w.]+)\.(\w+)` \|$", text, re.MULTILINE)
        self.assertEqual(len(rows), text.partition("| constant |")[2].count("\n| "))
        for number, unit, module, name in rows:
            with self.subTest(name):
                constant = getattr(importlib.import_module(f"Socket_Singleton.{module}"), name)
                self.assertEqual(float(number) * UNITS[unit], constant)

    def test_docstrings_describe_each_parameter(self):
        """They are the reference that the site shows."""
        functions = [package.Socket_Singleton, *self.methods()]
        for function in functions:
            doc, parameters = inspect.getdoc(function), parameters_of(function)
            for name in parameters if len(parameters) > 2 else ():
                with self.subTest(function.__qualname__, parameter=name):
                    self.assertRegex(doc, rf"\b{name}\b")

    @staticmethod
    def methods():
        return [
            getattr(package.Socket_Singleton, name)
            for name, value in vars(package.Socket_Singleton).items()
            if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, staticmethod))
        ]

    def test_the_reference_has_each_public_name(self):
        text = (DOCS / "api.md").read_text(encoding="utf-8")
        directives = re.findall(r"^\.\. auto\w+:: Socket_Singleton\.(\w+)$", text, re.MULTILINE)
        self.assertEqual(sorted(directives), sorted(package.__all__))

    def test_outcomes_are_those_of_the_code(self):
        module = importlib.import_module("Socket_Singleton._outcome")
        outcomes = module.OUTCOMES
        text = (DOCS / "api.md").read_text(encoding="utf-8").partition("## Outcomes")[2]
        self.assertEqual(dict(re.findall(r"^\| `(.*?)` \| (.*) \|$", text, re.MULTILINE)), outcomes)
        table = sections(README)["What a second launch does"]
        rows = re.findall(r"^\|(?:[^|]*\|){2}([^|]*)\| `(\w+)` \|$", table, re.MULTILINE)
        self.assertGreater(len(rows), 8)
        answered = dict.fromkeys((module.ANSWERED, module.REFUSED), True)
        for words, delivered in rows:
            for word in set(re.findall("`(.*?)`", words)) - {"outcome"}:
                self.assertIn(word, outcomes)
                self.assertEqual(str({**module.DELIVERED, **answered}.get(word, False)), delivered, word)

    def test_first_program_of_each_page_gives_up_the_name(self):
        """People copy it. Without `with` or `finally`, an error could leave the program with the name."""
        for page in (README, *sorted(DOCS.rglob("*.md"))):
            text = page.read_text(encoding="utf-8")
            for program in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
                if re.search(r"\bSocket_Singleton\(", program):
                    with self.subTest(page.name):
                        self.assertRegex(program, r"(?m)^ *(with|finally)\b")
                    break

    def test_subcommands_are_all_described(self):
        said = self.finish(self.start("-m", "Socket_Singleton", "--help")).out
        subcommands = re.findall(r"^    (\w+) +[A-Z]", said, re.MULTILINE)
        text = (DOCS / "command.md").read_text(encoding="utf-8").partition("| subcommand |")[2]
        self.assertEqual(sorted(re.findall(r"^\| `(\w+)\b", text, re.MULTILINE)), sorted(subcommands))

    def test_the_version_is_that_of_the_changelog(self):
        changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        latest = re.search(r"^## \[([\d.]+)\]", changes, re.MULTILINE).group(1)
        self.assertEqual(latest, package.__version__)

    @once_for_all
    def test_tests_and_files_that_pages_name_exist(self):
        for page in (README, ROOT / "CONTRIBUTING.md", *pages()):
            text = page.read_text(encoding="utf-8")
            for name, method in re.findall(r"`(?:tests\.)?(Test\w+)(?:\.(test_\w+))?`", text):
                found = hasattr(getattr(tests, name, None), method or "setUp")
                self.assertTrue(found, f"{page.name}: {name} {method}")
            for name in re.findall(r"`((?:_\w+/)?\w+\.py)`", text):
                if not name.startswith("_"):
                    continue
                self.assertTrue((SOURCE / name).is_file(), f"{page.name}: {name}")
        rooms = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
        for path in SOURCE.rglob("*.py"):
            if path.name != "__init__.py":
                self.assertIn(f"`{path.relative_to(SOURCE).as_posix()}`", rooms)

    @once_for_all
    def test_links_lead_somewhere(self):
        linked = set()
        for page in (README, ROOT / "CONTRIBUTING.md", *pages()):
            text = page.read_text(encoding="utf-8")
            for path, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", text):
                target = page.parent / path if path else page
                self.assertTrue(target.exists(), f"{page.name}: {path}")
                if page == README:
                    linked.add(target.resolve())
                if anchor:
                    self.assertIn(anchor, anchors(target), f"{page.name}: {path}")
        of_the_site = {DOCS / "index.md", DOCS / "changelog.md"}
        self.assertEqual({page for page in pages() if page.resolve() not in linked} - of_the_site, set())

    @once_for_all
    def test_every_example_is_linked(self):
        text = README.read_text(encoding="utf-8")
        for path in (ROOT / "examples").iterdir():
            if path.name != "__pycache__":
                self.assertIn(f"examples/{path.name}", text)

    @once_for_all
    def test_each_page_has_a_place_on_the_site(self):
        index = (DOCS / "index.md").read_text(encoding="utf-8")
        for page in pages():
            if page.name != "index.md":
                name = page.relative_to(DOCS).with_suffix("").as_posix()
                self.assertRegex(index, rf"(?m)^{name}$|<{name}>$", f"{name} is in no table of contents")


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
    """Return the classes that have tests, from all files; those without tests are base classes."""
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
    found = {
        path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in SOURCE.rglob("*.py")
    }
    assert "_singleton.py" in found
    return found


class TestLayout(SingletonTestCase):
    def collected(self, how: str) -> list:
        program = self.start("-c", LIST_TESTS, how)
        self.finish(program)
        self.assertEqual(program.err, "")
        return sorted(program.lines)

    @once_for_all
    @unittest.skipUnless((ROOT / ".ci").is_dir(), "no .ci here")
    def test_everything_installed_has_an_upper_bound(self):
        """Otherwise a new release of another project could break the checks."""
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

    @once_for_all
    @unittest.skipUnless((ROOT / ".ci").is_dir(), "no .ci here")
    def test_the_same_pythons_are_named_everywhere(self):
        oldest, newest = re.search(
            r"CPython 3\.(\d+) to 3\.(\d+)", README.read_text(encoding="utf-8")
        ).groups()
        expected = {f"3.{minor}" for minor in range(int(oldest), int(newest) + 1)}
        for file, pattern in (
            ("pyproject.toml", r'Python :: (3\.\d+)"'),
            ("noxfile.py", r'^@each\("python", (.*)\)$'),
            (".github/workflows/ci.yml", r"^ *(?:python: \[|- \{.*python: )(.*)"),
        ):
            with self.subTest(file):
                named = re.findall(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
                self.assertEqual(set(re.findall(r"(?<![-\d.])3\.\d+\b", " ".join(named))), expected)

    @once_for_all
    @unittest.skipUnless((ROOT / ".ci").is_dir(), "no .ci here")
    def test_each_condition_on_the_version_is_tested_both_ways(self):
        """On the Pythons that run all tests.

        That is not necessary if the others run that file too, or if tests that all run set the constant.
        """
        noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
        [named] = re.findall(r'^@each\("python", (.*)\)$', noxfile, re.MULTILINE)
        [few] = re.findall(r"^IN_BETWEEN = \((.*)\)$", noxfile, re.MULTILINE)
        few, every = (re.findall(r'"3\.(\d+)"', versions) for versions in (few, named))
        self.assertLess(set(few), set(every))
        complete = [(3, int(minor), 0, "final", 0) for minor in every if minor not in few]
        self.assertFalse({every[0], every[-1]} & set(few), "those between two others")
        found = 0
        text = "".join((ROOT / "tests" / f"{name}.py").read_text("utf-8") for name in in_between.FILES)
        on, off = (set(re.findall(rf"\binside\.limits\((\w+)={way}\)", text)) for way in (True, False))
        folders = [ROOT / name for name in ("src", "tests", "examples")]
        for path in itertools.chain(*(folder.rglob("*.py") for folder in folders)):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in without_constants(tree, on & off):
                if isinstance(node, ast.Compare) and is_about_the_version(node):
                    found += 1
                    code = compile(ast.Expression(node), str(path), "eval")
                    ways = {eval(code, {"sys": types.SimpleNamespace(version_info=v)}) for v in complete}
                    if path.stem not in in_between.FILES:
                        self.assertEqual(ways, {True, False}, f"{path.name}:{node.lineno}")
        self.assertGreater(found, 10)

    # -- the tests --

    @once_for_all
    @unittest.skipUnless((ROOT / "examples").is_dir(), "no examples here")
    def test_the_desktop_application_is_still_short(self):
        paths = (ROOT / "examples" / "desktop_app").rglob("*.py")
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)
        self.assertLessEqual(lines, 200)
        self.assertGreater(lines, 100)

    @once_for_all
    def test_each_file_is_a_test_of_the_package_or_of_something_else(self):
        files = [path.stem for path in (ROOT / "tests").glob("test_*.py")]
        self.assertEqual(sorted(core.FILES + core.OTHERS), sorted(files))

    @once_for_all
    def test_every_class_is_reached_by_its_name(self):
        tests = importlib.import_module("tests")
        self.assertIn(type(self), with_tests())
        for value in with_tests():
            self.assertIs(getattr(tests, value.__name__, None), value, f"tests.{value.__name__}")

    @once_for_all
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

    @once_for_all
    def test_no_two_tests_of_a_class_have_the_same_name(self):
        """The second would replace the first, which would then silently never run."""
        for path in (ROOT / "tests").glob("test_*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    names = [x.name for x in node.body if isinstance(x, ast.FunctionDef)]
                    self.assertEqual(sorted(set(names)), sorted(names), f"{path.name}: {node.name}")

    @once_for_all
    def test_one_class_or_one_test_can_be_run(self):
        for name in ("tests.TestArgumentPassing", "tests.TestArgumentPassing.test_multiple_observers"):
            program = self.finish(self.start("-m", "unittest", name))
            self.assertRegex(program.err, r"Ran [1-9]\d* tests? in ")
            self.assertRegex(program.err, r"OK( \(skipped=\d+\))?\Z")

    # -- the package --

    @once_for_all
    def test_public_names(self):
        self.assertEqual(sorted(package.__all__), ["Launch", "MultipleSingletonsError", "Socket_Singleton"])
        self.assertRegex(package.__version__, r"\A\d+\.\d+\.\d+\Z")
        self.assertTrue((SOURCE / "py.typed").is_file())

    @once_for_all
    def test_every_public_name_has_a_docstring(self):
        for file, tree in trees().items():
            module = f"Socket_Singleton/{file[:-3]}".replace("/__init__", "").replace("/", ".")
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

    @once_for_all
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
        """With a bare interpreter: with site, the environment's start-up files may import anything."""
        program = self.finish(self.start("-I", "-S", "-c", LIST_HEAVY, SOURCE.parent))
        self.assertIn("Socket_Singleton._singleton", program.lines)
        self.assertEqual(TOO_HEAVY & set(program.lines), set())

    def test_a_second_launch_imports_no_host(self):
        """Most launches are never a host, and do not wait for its modules to be imported."""
        self.singleton()
        code = (
            "import sys; from Socket_Singleton import MultipleSingletonsError, Socket_Singleton\n"
            "try: Socket_Singleton(port=sys.argv.pop(1), strict=False)\n"
            "except MultipleSingletonsError: print(*sorted(sys.modules), sep='\\n')"
        )
        program = self.finish(self.start("-c", code, self.port))
        self.assertIn("Socket_Singleton._client", program.lines)
        self.assertEqual([name for name in program.lines if name.startswith("Socket_Singleton._host")], [])

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
