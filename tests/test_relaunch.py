"""A program that starts itself again, for each way of starting one."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import weakref
import zipapp
import zipfile
from pathlib import Path

import Socket_Singleton as package
from Socket_Singleton import Socket_Singleton

from .support import PATIENCE, PROGRAMS, SingletonTestCase, inside

PROGRAM = PROGRAMS / "anew.py"
PACKAGE_PARENT = str(Path(package.__file__).parent.parent)

# What a shell, a Windows command line or the interpreter itself could misunderstand.
WORDS = [
    "a.txt",
    "two words",
    "",
    "\u00e9\u4e2d",
    'a "quoted\\" one\\',
    "-m",
    "-c",
    "--",
    "*",
    "-X",
    "$HOME %PATH%",
]


def run_tool(command) -> tuple:
    """Run a command to its end; return its exit status and its output."""
    pipe, out = subprocess.PIPE, subprocess.STDOUT
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=out, check=False)
    return done.returncode, done.stdout.decode(errors="replace")


class RelaunchTestCase(SingletonTestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.make_folder() / "a folder \u00e9"
        self.folder.mkdir()

    def relaunched(self, *command, cwd=None, env=None, **plan):
        """Run a program that starts itself again; return what each process printed."""
        plan.setdefault("argv", WORDS)
        program = self.start_program([*command, json.dumps(plan)], cwd=cwd or self.folder, env=self.env(env))
        self.finish(program)
        self.assertEqual(program.err, "")
        first, *others = map(json.loads, program.lines)
        self.assertEqual(first["argv"], [json.dumps(plan)])
        return (first, *others)

    def env(self, more=None):
        return {"PACKAGE_PARENT": PACKAGE_PARENT, "PYTHONDONTWRITEBYTECODE": "1", **(more or {})}

    def check(self, *command, same=(), **options):
        """Check that the new process differs only in its arguments; return what it printed."""
        first, second = self.relaunched(*command, **options)
        self.assertEqual(second["argv"], options.get("argv", WORDS))
        alike = {
            "executable",
            "file",
            "flags",
            "module",
            "path",
            "prefix",
            "unbuffered",
            "warnings",
            "xoptions",
        }
        for name in same or alike | {"cwd"}:
            self.assertEqual(second[name], first[name], name)
        return second

    def script(self, name="the script \u00e9.py"):
        return shutil.copy(str(PROGRAM), str(self.folder / name))

    def package(self, name="anew_package", folder=None):
        """Make a package of the program that -m finds in the folder; return its name."""
        path = (folder or self.folder) / name.replace(".", os.sep)
        path.mkdir(parents=True)
        shutil.copy(str(PROGRAM), str(path / "__main__.py"))
        return name


class TestRelaunch(RelaunchTestCase):
    # -- what runs --

    def test_a_script(self):
        self.check(sys.executable, self.script())

    def test_a_package_and_a_module(self):
        self.package("anew_package.part")
        (self.folder / "anew_package" / "module.py").write_text(
            PROGRAM.read_text(encoding="utf-8"), encoding="utf-8"
        )
        for module in ("anew_package.part", "anew_package.part.__main__", "anew_package.module"):
            with self.subTest(module):
                second = self.check(sys.executable, "-m", module)
                if second["command"]:
                    name = module.replace(".__main__", "")  # as a list of processes shows it
                    self.assertEqual(second["command"], [sys.executable, "-m", name, *WORDS])
        self.check(sys.executable, "-manew_package.part")

    def test_a_folder_and_an_archive(self):
        self.package("a folder")
        zipapp.create_archive(str(self.folder / "a folder"), str(self.folder / "an app.pyz"))
        for name in ("a folder", "an app.pyz"):
            with self.subTest(name):
                self.check(sys.executable, self.folder / name)

    def test_a_console_script(self):
        """From a wheel, installed by pip. On Windows that is a program with an archive at its end."""
        if not importlib.util.find_spec("pip"):
            self.skipTest("this Python has no pip")
        wheel, site = self.folder / "anew-1-py3-none-any.whl", self.folder / "site"
        with zipfile.ZipFile(str(wheel), "w") as archive:
            archive.write(str(PROGRAM), "anew.py")
            archive.writestr("anew-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: anew\nVersion: 1\n")
            archive.writestr(
                "anew-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(
                "anew-1.dist-info/entry_points.txt", "[console_scripts]\nstart-anew = anew:main\n"
            )
            archive.writestr("anew-1.dist-info/RECORD", "")
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-index",
            "--no-deps",
            "--no-cache-dir",  # without a home, pip reports that there is none
            "--disable-pip-version-check",
        ]
        status, said = run_tool([*pip, "--target", str(site), str(wheel)])
        self.assertEqual(status, 0, said)
        [script] = (site / "bin").glob("start-anew*")
        path = os.pathsep.join([str(site), PACKAGE_PARENT])
        self.check(script, env={"PYTHONPATH": path})

    def test_a_program_run_by_another_one_is_restarted_directly(self):
        runner = self.folder / "runner.py"
        runner.write_text(
            "import runpy, sys\n"
            "del sys.argv[0]\n"
            "if sys.argv[0] == '-m':\n"
            "    del sys.argv[0]\n"
            "    runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
            "else:\n"
            "    runpy.run_path(sys.argv[0], run_name='__main__')\n",
            encoding="utf-8",
        )
        code = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
        for command in (
            (runner, self.script()),
            (runner, "-m", self.package()),
            ("-ESsc", code, self.script()),
        ):
            with self.subTest(command=command):
                self.check(sys.executable, *command, same=["file", "flags", "executable"])

    def test_a_frozen_program_is_restarted_from_its_binary(self):
        if os.name == "nt":
            self.skipTest("a script cannot stand in for a binary there")
        binary = self.folder / "a binary"
        binary.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
        binary.chmod(0o755)
        path = os.pathsep.join([os.environ["PATH"], str(self.folder)])
        argv = "orig_argv" if sys.version_info >= (3, 10) else "argv"
        for system, main in (
            ({"frozen": True, "executable": str(binary)}, {}),  # like cx_Freeze and others
            (
                {argv: ["./a binary"], "executable": "/no/such/python"},
                {"__compiled__": True},
            ),  # like Nuitka
            ({argv: ["a binary"], "executable": "/no/such/python"}, {"__compiled__": True}),  # found in PATH
        ):
            with self.subTest(system=system):
                plan = {"argv": ["two words", "b"], "go": os.sep, "sys": system, "__main__": main}
                program = self.finish(self.start_relaunching(self.script(), env={"PATH": path}, **plan))
                self.assertEqual(program.lines[1:], ["two words", "b"])

    def start_relaunching(self, *command, env=None, **plan):
        return self.start_program(
            [sys.executable, *command, json.dumps(plan)], cwd=self.folder, env=self.env(env)
        )

    def test_programs_that_cannot_be_restarted(self):
        script, call = self.script(), "from Socket_Singleton import Socket_Singleton as S; S.relaunch(['x'])"
        for command, typed, why in (
            (["-c", call], "", "python -c"),
            (["-"], call, "standard input"),
            (["-i", "-q"], f"{call}\n", "the prompt"),
            ([script, json.dumps({"argv": [], "remove": script})], "", "does not exist"),
            (
                [self.script("b.py"), json.dumps({"argv": [], "sys": {"executable": ""}})],
                "",
                "sys.executable",
            ),
            ([self.script("c.py"), json.dumps({"argv": [], "sys": {"frozen": "macosx_app"}})], "", "py2app"),
        ):
            with self.subTest(why=why):
                program = self.start_program([sys.executable, *command], cwd=self.folder, env=self.env())
                program.write(typed)
                program.process.stdin.close()
                program.wait()
                reports = [line for line in program.lines if line.startswith("{")]
                self.assertEqual(len(reports), command[0].endswith(".py"), program.describe())
                self.assertRegex(program.err, "RuntimeError: this program cannot be started again: .*" + why)

    # -- the interpreter --

    def test_options_of_the_interpreter_are_kept(self):
        options = [
            ["-X", "dev", "-W", "error"],
            ["-Xdev", "-O"],
            ["-Werror::DeprecationWarning", "-Wignore::UserWarning", "-bb"],
            ["-I"],
            ["-OOB", "-u", "--"],
            ["-E", "-s", "-S"],
            ["-uX", "utf8", "-q"],
            ["-X", "an_option=of its own", "-X", "faulthandler", "-sE"],
        ]
        if sys.implementation.name == "cpython":
            options.append(["--check-hash-based-pycs", "never", "-W", "ignore"])
        if sys.version_info >= (3, 11):
            options += [["-P"], ["-PW", "error", "-X", "frozen_modules=off"]]
        script, module, unbuffered = self.script(), self.package(), {"PYTHONUNBUFFERED": ""}
        for words in options:
            with self.subTest(words=words):
                self.check(sys.executable, *words, script, env=unbuffered)
        for words in (["-X", "dev", "-W", "error", "-m"], ["-EsOm"], ["-u", "-sOmanew_package"]):
            with self.subTest(words=words):
                named = [] if words[-1].endswith(module) else [module]
                self.check(sys.executable, *words, *named, env=unbuffered)

    def test_options_in_the_environment_do_not_accumulate(self):
        env = {"PYTHONWARNINGS": "ignore::UserWarning,error::DeprecationWarning", "PYTHONOPTIMIZE": "1"}
        command = [sys.executable, "-W", "default::ImportWarning", self.script()]
        first, *others = self.relaunched(*command, argv={"argv": {"argv": []}}, env=env)
        self.assertEqual(len(others), 3)
        for other in others:
            self.assertEqual((other["warnings"], other["flags"]), (first["warnings"], first["flags"]))

    def test_a_virtual_environment_is_kept(self):
        place = self.folder / "environment"
        kind = "--copies" if os.name == "nt" else "--symlinks"
        status, said = run_tool([sys.executable, "-m", "venv", "--without-pip", kind, str(place)])
        if status:
            self.skipTest(f"this Python makes no virtual environment: {said}")
        if os.name == "nt":
            python = place / "Scripts" / "python.exe"
        else:
            python = place / "bin" / "python"
            self.assertTrue(python.is_symlink())
        second = self.check(python, self.script())
        self.assertEqual(Path(second["prefix"]), place)

    # -- arguments, folders, environment --

    def test_sys_argv_may_have_been_changed(self):
        for argv in ([], ["another.py", "--option", "x"]):
            with self.subTest(argv=argv):
                self.check(sys.executable, self.script(), sys={"argv": argv})
                self.check(sys.executable, "-m", self.package(f"anew_{len(argv)}"), sys={"argv": argv})

    def test_after_a_change_of_folder(self):
        zipapp.create_archive(str(self.folder / self.package("an_app")), str(self.folder / "an app.pyz"))
        self.script()
        for command in (
            ["the script \u00e9.py"],
            ["-m", "an_app"],
            ["an_app"],
            ["an app.pyz"],
            ["-Esm", "an_app"],
        ):
            for to in (os.sep, os.path.join(os.pardir, os.pardir)):
                with self.subTest(command=command, to=to):
                    self.check(sys.executable, *command, go=to)

    def test_after_a_change_of_folder_before_the_import(self):
        (self.folder / "b").mkdir()
        commands = [["-m", self.package("an_app")], ["-Esm", "an_app"]]
        same = ["file", "module", "path", "flags"]
        self.script("b/script.py")
        if sys.version_info >= (3, 9):  # before, nothing says where it is
            commands += [["b/script.py"], ["an_app"]]
        for command in commands:
            with self.subTest(command=command):
                self.check(sys.executable, *command, go_before_import="b", same=same)

    def test_in_another_folder(self):
        """The new process is there, and nothing in that folder is taken for a part of the program."""
        elsewhere = self.make_folder()
        (elsewhere / "an_app").mkdir()
        for stranger in ("an_app/__main__.py", "runpy.py", "json.py", "Socket_Singleton.py", "script.py"):
            (elsewhere / stranger).write_text("print('a stranger')\n", encoding="utf-8")
        self.package("an_app")
        self.script("script.py")
        same = ["executable", "file", "flags", "module", "path", "warnings", "xoptions"]
        popen, env = {"cwd": str(elsewhere)}, {"PYTHONPATH": os.pathsep.join(["rel", PACKAGE_PARENT])}
        for command in (["script.py"], ["-m", "an_app"], ["an_app"], ["-sE", "-W", "error", "-man_app"]):
            for go in (os.curdir, str(elsewhere)):
                with self.subTest(command=command, go=go):
                    second = self.check(sys.executable, *command, popen=popen, go=go, same=same, env=env)
                    self.assertEqual(Path(second["cwd"]), elsewhere)
        if sys.version_info >= (3, 11):
            path = {"PYTHONPATH": os.pathsep.join(["another", ".", PACKAGE_PARENT])}
            command = [sys.executable, "-P", "-m", "an_app"]
            self.check(*command, popen=popen, same=same, env=path)
        # And again from there.
        first, *others = self.relaunched(
            sys.executable, "-m", "an_app", argv={"argv": {"argv": []}}, popen=popen
        )
        self.assertEqual([other["file"] for other in others], [first["file"]] * 3)
        self.assertEqual([other["path"] for other in others], [first["path"]] * 3)

    @unittest.skipIf(os.name == "nt", "a current folder cannot be deleted there")
    def test_after_its_folder_was_deleted(self):
        script, gone = self.script(), self.folder / "gone"
        delete = (
            "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        )
        for before, plan in (([], {"remove": str(gone)}), (["-c", delete], {})):
            with self.subTest(plan=plan):
                gone.mkdir()
                command = [sys.executable, *before, script]
                _, second = self.relaunched(*command, cwd=gone, go=os.sep, **plan)
                self.assertEqual((second["argv"], second["cwd"]), (WORDS, os.sep))

    def test_a_launch_starts_where_it_was_started(self):
        """And with its variables, unless others are given; at the root if its folder was deleted."""
        script, here, there = self.script(), str(self.make_folder()), str(self.make_folder())
        launch, root = {"cwd": here, "environ": {"MARK": "its own"}}, self.folder.anchor
        for launched, popen, cwd, mark in (
            (launch, {}, here, "its own"),
            (launch, {"cwd": there, "env": {"MARK": "given"}}, there, "given"),
            ({**launch, "cwd": None}, {}, str(self.folder), "its own"),
            ({**launch, "cwd": os.path.join(here, "deleted")}, {}, root, "its own"),
        ):
            with self.subTest(launched=launched, popen=popen):
                _, second = self.relaunched(sys.executable, script, launch=launched, popen=popen)
                self.assertEqual(second["argv"], WORDS)
                self.assertEqual(os.path.realpath(second["cwd"]), os.path.realpath(cwd))
                self.assertEqual(second["mark"], mark)

    def test_the_environment(self):
        script, env = self.script(), {"MARK": "inherited"}
        for popen, mark in (
            ({}, "inherited"),
            ({"env": {"MARK": "given"}}, "given"),
            ({"env": None}, "inherited"),
        ):
            with self.subTest(popen=popen):
                _, second = self.relaunched(sys.executable, script, popen=popen, env=env)
                self.assertEqual(second["mark"], mark)

    def test_further_arguments_are_passed_to_popen(self):
        program = self.start_relaunching(self.script(), argv=[], popen={"stdout": subprocess.DEVNULL})
        self.finish(program)
        self.assertEqual(len(program.lines), 1)
        for plan, error in (
            ({"argv": [], "popen": {"no_such": 1}}, "TypeError: .*no_such"),
            ({"argv": [], "popen": {"cwd": "no such folder"}}, "FileNotFoundError|NotADirectoryError"),
            ({"argv": "a string"}, "TypeError: argv must be a sequence of str"),
        ):
            with self.subTest(plan=plan):
                program = self.finish(self.start_relaunching(self.script(), **plan), status=1)
                self.assertEqual(len(program.lines), 1)
                self.assertRegex(program.err, error)

    # -- the port --

    def test_no_restart_while_the_port_is_held(self):
        held = {"port": self.port, "released_by": None}
        program = self.start_relaunching(self.script(), argv=["x"], hold=held)
        self.finish(program, status=1)
        self.assertEqual(len(program.lines), 1)
        self.assertIn(
            "RuntimeError: an instance in this process still holds its port; call release() first",
            program.err,
        )
        for released_by in ("release", "release_threshold"):
            with self.subTest(released_by):
                self.check(sys.executable, self.script(), hold={**held, "released_by": released_by})

    def test_a_host_is_forgotten_once_it_is_released(self):
        app = Socket_Singleton(port=self.port)
        thread = weakref.ref(inside.io_thread(app))
        app.release()
        del app
        for _ in range(3):  # PyPy frees objects with a finalizer in a later collection
            gc.collect()
        self.assertIsNone(thread())


# As PyInstaller makes it for each kind, but for both from one analysis, which takes longest. Python's library
# may have symbols that take long to compress.
SPEC = f"""
found = Analysis([{str(PROGRAM)!r}], pathex=[{PACKAGE_PARENT!r}])
pure = PYZ(found.pure)
strip = {bool(sys.platform == "linux" and shutil.which("strip"))}
EXE(pure, found.scripts, found.binaries, found.datas, name="onefile", strip=strip)
only = EXE(pure, found.scripts, name="onedir", strip=strip, exclude_binaries=True)
COLLECT(only, found.binaries, found.datas, name="onedir", strip=strip)
"""


@unittest.skipUnless(importlib.util.find_spec("PyInstaller"), "there is no PyInstaller")
class TestRelaunchFrozen(RelaunchTestCase):
    """Frozen by PyInstaller, as one file and as a folder."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.temporary = tempfile.TemporaryDirectory()
        cls.frozen = Path(os.path.realpath(cls.temporary.name)) / "frozen \u00e9"
        cls.frozen.mkdir()
        spec = cls.frozen / "both.spec"
        spec.write_text(SPEC, encoding="utf-8")
        folders = [f"--{name}path={cls.frozen / name}" for name in ("dist", "work")]
        status, said = run_tool(
            [sys.executable, "-m", "PyInstaller", "--log-level", "WARN", *folders, str(spec)]
        )
        if status:
            cls.tearDownClass()  # unittest does not call it after this
            raise AssertionError(said)
        suffix = ".exe" if os.name == "nt" else ""
        cls.onefile = cls.frozen / "dist" / f"onefile{suffix}"
        cls.onedir = cls.frozen / "dist" / "onedir" / f"onedir{suffix}"

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()
        super().tearDownClass()

    def test_a_folder(self):
        self.check(self.onedir, same=["executable", "file", "cwd", "unpacked"])

    def test_one_file(self):
        """The new process has its own unpacked files."""
        first, second = self.relaunched(self.onefile)
        self.assertEqual((second["argv"], second["executable"]), (WORDS, first["executable"]))
        self.assertNotEqual(second["unpacked"], first["unpacked"])

    def test_one_file_outlives_the_process_that_started_it(self):
        """The old one's unpacked files are deleted when it ends."""
        program = self.start_program(
            [self.onefile, json.dumps({"argv": {"read": True}, "wait": False})],
            cwd=self.folder,
            env=self.env(),
        )
        self.assertEqual(program.process.wait(PATIENCE), 0)
        program.write("\n")
        self.finish(program)
        first, _, has_its_files = map(json.loads, program.lines)
        self.assertTrue(has_its_files)
        self.assertFalse(os.path.exists(first["unpacked"]))

    def test_after_a_change_of_folder_and_in_another_one(self):
        elsewhere = str(self.make_folder())
        for binary in (self.onefile, self.onedir):
            relative = os.path.join(os.curdir, os.path.relpath(str(binary), str(self.folder)))
            for command, popen in ((relative, {}), (relative, {"cwd": elsewhere})):
                with self.subTest(binary=binary.name, popen=popen):
                    _, second = self.relaunched(command, go=os.sep, popen=popen)
                    self.assertEqual(second["cwd"], popen.get("cwd", str(self.folder)))

    def test_the_environment_does_not_grow(self):
        for binary in (self.onefile, self.onedir):
            for env in ({}, {"LD_LIBRARY_PATH": "/no/such/folder"}):
                with self.subTest(binary=binary.name, env=env):
                    reports = self.relaunched(binary, argv={"argv": {"argv": []}}, env=env)
                    self.assertEqual(len(reports), 4)
                    own = [
                        report["libraries"] and report["libraries"].replace(report["unpacked"], "its own")
                        for report in reports
                    ]
                    self.assertEqual(own, own[:1] * 4)
