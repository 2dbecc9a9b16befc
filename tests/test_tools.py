"""What docs/tools.md says about tools that import a program, tried with the tools."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
import unittest
import urllib.request

from Socket_Singleton import Socket_Singleton

from .pages import PageTestCase
from .support import PATIENCE, ROOT, Collector, environment, wait_until

RUNNING = "Running. Press Enter to quit."
A_TEST = "import app\ndef test_double():\n    assert app.double(2) == 4\n"
CONSTRUCT = "app = Socket_Singleton(name='NAME')"
AT_THE_TOP = f"""
from Socket_Singleton import Socket_Singleton
def double(number):
    return 2 * number
{CONSTRUCT}
"""
IN_MAIN = """
import joblib
if __name__ == "__main__":
    FIRST
    jobs = joblib.Parallel(n_jobs=2)
    print(jobs(joblib.delayed(double)(number) for number in range(4)), app.clients, flush=True)
"""
# The workers already exist, and import the module when they unpickle a task.
TASKS_OF_A_MODULE = """
    joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(number) for number in range(4))
    from app import app, double
"""
A_LONG_JOB = """
import os, threading
from joblib import Parallel, delayed
from Socket_Singleton import Socket_Singleton
def work():
    print("at work:", os.getpid(), flush=True)
    threading.Event().wait()
if __name__ == "__main__":
    app = Socket_Singleton(name="NAME")
    Parallel(n_jobs=2)([delayed(work)()] * 2)
"""
A_WEB_PAGE = """
def web(environ, start):
    start("200 OK", [])
    return [b"hello"]
"""
AN_ASGI_PAGE = """
async def web(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})
"""


@unittest.skipUnless((ROOT / "docs").is_dir(), "no docs here")
class TestTools(PageTestCase):
    page = ROOT / "docs" / "tools.md"

    def setUp(self):
        super().setUp()
        self.name = f"org.example.test-{self.port}.top"  # of a program that is on no page
        self.env = {
            "PYTHONPATH": os.pathsep.join([str(self.folder), environment()["PYTHONPATH"]]),
            "PYTHONUNBUFFERED": "",  # so each line of a worker is one write, and lines do not mix
        }

    def write(self, name, text):
        (self.folder / name).write_text(text.replace("NAME", self.name), encoding="utf-8")

    def tool(self, *command, env=None):
        return self.start("-m", *command, env={**self.env, **(env or {})}, cwd=self.folder)

    def run_tool(self, *command, status=0, env=None):
        return self.finish(self.tool(*command, env=env), status)

    def host(self):
        """Be the running application, and return what it observes."""
        launches = Collector()
        app = Socket_Singleton(name=self.name)
        self.addCleanup(app.release)
        app.trace(launches)
        return launches

    def assert_only(self, launches, *expected):
        """Check that only these launches arrive, before a last one that is sent now."""
        self.send("the last")
        launches.wait_for(*expected, ("the last",))

    def get(self):
        """Return the answer of the web server, once there is one."""

        def answer():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}/", timeout=5) as page:
                    return page.read().decode()
            except (OSError, http.client.HTTPException):  # it is being replaced
                return None

        return wait_until(answer, "the web server answers")

    def change_until(self, condition, what):
        """Change app.py until ``condition()`` is true: reloaders take the first state for unchanged."""
        path = self.folder / "app.py"

        def is_seen():
            later = path.stat().st_mtime + 10  # reloaders check the time of a file
            path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
            os.utime(str(path), (later, later))
            until = time.monotonic() + 3  # seconds: they check once a second, and start Python
            return wait_until(lambda: condition() or time.monotonic() > until, what) and condition()

        wait_until(is_seen, what)

    def end(self, program):
        """End a server like a service manager; it ends its own processes."""
        program.process.send_signal(signal.SIGTERM)
        program.wait()

    # -- the rule, and what happens without it --

    def test_with_the_rule_test_runners_can_import_it_while_it_runs(self):
        self.need("pytest", "xdist")
        self.program("The rule", "app.py")
        self.write("test_app.py", A_TEST)
        running = self.start(self.folder / "app.py", ready=RUNNING)
        for command in (["pytest"], ["pytest", "-n", "2"]):
            self.assertIn("1 passed", self.run_tool(*command, "test_app.py").out)
        running.write("\n")
        self.finish(running)
        self.assertEqual(running.lines, ["()", RUNNING])
        by_entry_point = self.start("-c", "import app; app.main()", env=self.env, ready=RUNNING)
        by_entry_point.write("\n")
        self.finish(by_entry_point)

    def test_pytest_with_one_at_the_top(self):
        self.need("pytest", "xdist")
        self.write("app.py", AT_THE_TOP)
        self.write("test_app.py", A_TEST)
        launches = self.host()
        program = self.run_tool("pytest", "test_app.py", status=3)
        self.assertIn("INTERNALERROR", program.out)
        self.assertIn("no tests ran", program.out)
        launches.wait_for(("test_app.py",))
        program = self.tool("pytest", "-n", "2", "test_app.py")
        # An internal error, or no test was collected: which one it is differs from run to run.
        self.assertIn(program.wait(), (3, 5), program.describe())
        self.assertIn("INTERNALERROR", program.out + program.err)
        self.assertNotIn("passed", program.out)

    def test_unittest_with_one_at_the_top(self):
        self.write("app.py", AT_THE_TOP)
        self.write(
            "its_tests.py",
            "import unittest\nclass Tests(unittest.TestCase):\n    def test_double(self): import app\n",
        )
        self.host()
        program = self.run_tool("unittest", "its_tests", status=1)
        self.assertRegex(program.err, r"(?s)SystemExit.*FAILED \(errors=1\)")

    def test_flask_with_one_at_the_top(self):
        self.need("flask")
        path = self.program("Flask", "app.py")
        text = path.read_text(encoding="utf-8").replace(
            'os.environ.get("WERKZEUG_RUN_MAIN") != "true"', "True"
        )
        path.write_text(text, encoding="utf-8")
        program = self.finish(self.start(path))
        self.assertIn("Restarting with stat", program.err)

    def test_gunicorn_with_one_at_the_top(self):
        self.need("gunicorn")
        self.write("app.py", AT_THE_TOP + A_WEB_PAGE)
        program = self.tool("gunicorn", "app:web", "--workers", "2", "--bind", f"127.0.0.1:{self.web_port}")
        wait_until(lambda: program.err.count("Booting worker") > 4, "workers are started again and again")
        self.assertEqual(self.get(), "hello")
        self.end(program)

    def test_uvicorn_with_one_at_the_top(self):
        self.need("uvicorn")
        self.write("app.py", AT_THE_TOP + AN_ASGI_PAGE)
        command = ["uvicorn", "app:web", "--port", str(self.web_port)]
        launches = self.host()
        self.run_tool(*command)
        launches.wait_for(tuple(command[1:]))
        for option in (["--workers", "2"], ["--reload"]):
            with self.subTest(option):
                program = self.tool(*command, *option)
                self.assertEqual(self.get(), "hello")  # despite the host
                self.end(program)
        self.assert_only(launches, tuple(command[1:]))

    # -- web servers --

    def test_the_watcher_of_flask_is_the_host(self):
        self.need("flask")
        path = self.program("Flask", "app.py")
        first = self.start(path)
        before = self.get()
        self.change_until(lambda: self.get() != before, "another process has the application")
        second = self.finish(self.start(path))
        self.assertEqual((second.out, second.err), ("", ""))
        self.end(first)
        text = path.read_text(encoding="utf-8").replace("use_reloader=True", "use_reloader=False")
        path.write_text(text, encoding="utf-8")
        self.start(path)
        self.get()
        second = self.finish(self.start(path))
        self.assertEqual((second.out, second.err), ("", ""))

    def test_launches_reach_a_flask_application(self):
        self.need("flask")
        path = self.program("Flask", "app.py")
        text = path.read_text(encoding="utf-8").replace('!= "true"', '== "true"')
        line = f'Socket_Singleton(name="{self.name}")'
        self.assertIn(line, text)
        path.write_text(
            text.replace(line, f"{line}.trace(lambda launch: print(*launch, flush=True))"), encoding="utf-8"
        )
        first = self.start(path)
        before = self.get()
        self.send("before")
        first.expect("before")
        self.change_until(lambda: self.get() != before, "another process has the application")
        self.run_tool("Socket_Singleton", "send", "--name", self.name, "--", "after")
        first.expect("after")
        second = self.finish(self.start(path), status=1)
        self.assertIn("already in use", second.err)
        self.end(first)

    def check_the_job_of_workers(self, program):
        """Check that one of two workers has the job, and that another one takes over when it is killed."""

        def jobs():
            return [int(line.rpartition(" ")[2]) for line in program.lines if line.startswith("the job")]

        def others():
            return [line for line in program.lines if line.startswith("another worker has the job: ")]

        wait_until(others, "one of two does not get the job")
        self.assertIn("already bound & listening", others()[0])
        self.assertEqual(len(wait_until(jobs, "a worker has the job")), 1)
        os.kill(jobs()[0], signal.SIGKILL)  # a child of the program that this test started
        wait_until(lambda: len(jobs()) == 2, "another worker has the job")
        self.assertEqual(len(set(jobs())), 2)
        self.assertEqual(len(others()), 1)
        self.end(program)

    def test_one_worker_of_uvicorn_has_the_job(self):
        self.need("uvicorn", "starlette")
        self.program("Uvicorn", "app.py")
        self.check_the_job_of_workers(
            self.tool("uvicorn", "app:web", "--workers", "2", "--port", str(self.web_port))
        )

    def test_each_new_process_of_uvicorn_has_the_job(self):
        self.need("uvicorn", "starlette")
        self.program("Uvicorn", "app.py")
        program = self.tool("uvicorn", "app:web", "--reload", "--port", str(self.web_port))
        wait_until(lambda: "the job is done by" in program.out, "the job is taken")
        self.change_until(lambda: program.out.count("the job is done by") > 1, "the job is taken over")
        self.assertNotIn("another worker", program.out)
        self.end(program)

    def test_one_worker_of_gunicorn_has_the_job(self):
        self.need("gunicorn")
        self.program("Gunicorn", "gunicorn.conf.py")
        self.write("app.py", A_WEB_PAGE)
        self.check_the_job_of_workers(
            self.tool("gunicorn", "app:web", "--workers", "2", "--bind", f"127.0.0.1:{self.web_port}")
        )

    # -- worker processes --

    def test_workers_of_joblib_are_not_launches(self):
        self.need("joblib")
        page = self.program("Worker processes", "page.py")
        self.assertEqual(self.finish(self.start(page, env=self.env)).lines, ["[0, 2, 4, 6]"])
        self.write("app.py", AT_THE_TOP)
        self.write("top.py", AT_THE_TOP + IN_MAIN.replace("FIRST", ""))
        self.write("guarded.py", AT_THE_TOP.replace(CONSTRUCT, "") + IN_MAIN.replace("FIRST", CONSTRUCT))
        self.write("late.py", IN_MAIN.replace("FIRST", TASKS_OF_A_MODULE))
        for name in ("top.py", "guarded.py", "late.py"):
            with self.subTest(name):
                program = self.finish(self.start(self.folder / name, env=self.env))
                self.assertEqual((program.lines, program.err), (["[0, 2, 4, 6] 0"], ""))

    def test_workers_of_joblib_do_not_hold_the_port(self):
        self.need("joblib")
        self.write("app.py", A_LONG_JOB)
        program = self.start(self.folder / "app.py", env=self.env)
        workers = wait_until(lambda: len(program.lines) == 2 and program.lines, "both workers are at work")
        os.kill(program.pid, signal.SIGKILL)
        program.process.wait(PATIENCE)
        # It becomes the host, or this raises.
        Socket_Singleton(name=self.name, client=False, strict=False).release()
        for worker in workers:
            os.kill(int(worker.split()[-1]), 0)  # raises if it is no longer there

    # -- notebooks and the prompt --

    def prompt(self, *lines):
        """Type these lines at the prompt, and return the program once it has ended."""
        program = self.start("-i", "-q", "-c", "import sys; from Socket_Singleton import *", "an", "argument")
        program.write("\n".join([*lines, "print('still here')", "sys.exit(0)", ""]))
        return self.finish(program)

    def test_the_prompt(self):
        again = [f"app = Socket_Singleton(name={self.name!r})"] * 2
        self.assertNotIn("still here", self.prompt(*again).out)
        itself = ["print(app.arguments)", "sys.stdout.flush()"]
        released = self.prompt(again[0], "app.release()", again[1], *itself)
        self.assertRegex(released.out, r"\(\)\n(>+ )*still here")  # PyPy prompts on stdout
        launches = self.host()
        beside = self.prompt(f"app = Socket_Singleton(name={self.name!r}, strict=False, argv=[])")
        self.assertIn("MultipleSingletonsError", beside.err)
        self.assertIn("still here", beside.out)
        self.assert_only(launches)

    def test_a_notebook(self):
        self.need("ipykernel", "jupyter_client")
        import jupyter_client

        path = self.program("Notebooks and the prompt", "cell.py")
        cell = path.read_text(encoding="utf-8")
        spec = jupyter_client.kernelspec.KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="this",
            language="python",
        )
        kernel = jupyter_client.KernelManager(connection_file=str(self.folder / "kernel.json"))
        kernel._kernel_spec = spec
        kernel.start_kernel(env=environment(self.env), stderr=subprocess.DEVNULL)  # it warns about TCP
        self.addCleanup(kernel.shutdown_kernel, now=True)
        client = kernel.blocking_client()
        client.start_channels()
        self.addCleanup(client.stop_channels)
        client.wait_for_ready(timeout=30)

        def run(text):
            reply = client.execute_interactive(text, timeout=30, output_hook=lambda message: None)["content"]
            return reply.get("ename", reply["status"])

        self.assertEqual([run(cell), run(cell)], ["ok", "ok"])
        self.assertEqual(run(f"Socket_Singleton(name={self.name!r})"), "SystemExit")
        self.assertEqual(run("assert app.arguments[0][0] == '-f', app.arguments"), "ok")
        self.assertEqual(run("app.release()"), "ok")
        launches = self.host()
        self.assertEqual(run(cell), "MultipleSingletonsError")
        self.assertEqual(run("1 + 1"), "ok")
        self.assert_only(launches)
