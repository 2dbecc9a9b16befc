"""A PostgreSQL server of its own: in a temporary folder, reached by a socket there, removed with the test."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from .support import PATIENCE, wait_until

# The first version with idle_session_timeout.
_OLDEST = 14

# The key of a name, as the server computes it.
KEY = "('x' || encode(substr(sha256(convert_to(%s, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint"
# The keys that are locked, each with the pid of the server's process for that session.
HELD = (
    "SELECT (classid::bigint << 32) | objid::bigint AS key, pid FROM pg_locks"
    " WHERE locktype = 'advisory' AND granted"
)


def find_server() -> Path | None:
    """Return the folder with the programs of the newest PostgreSQL, if it is new enough."""
    found = {}
    folders = [Path(path) for path in os.environ.get("PATH", "").split(os.pathsep)]
    for folder in [*folders, *Path("/usr/lib/postgresql").glob("*/bin")]:
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            said = subprocess.run([str(folder / "postgres"), "--version"], stdout=subprocess.PIPE, check=True)
            found[int(re.search(rb"(\d+)", said.stdout).group(1))] = folder
    newest = max(found, default=0)
    return found[newest] if newest >= _OLDEST else None


def missing() -> str:
    """Return what these tests need but do not find; an empty string if everything is there."""
    if importlib.util.find_spec("psycopg") is None:
        return "there is no psycopg"
    if os.name != "posix" or find_server() is None:
        return f"there is no PostgreSQL {_OLDEST} or newer"
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        return "there is no setpriv, and PostgreSQL does not run as root"
    return ""


class Server:
    """Clients use its `env` or `dsn`."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._programs, self._as_user, self._process = find_server(), [], None
        if os.geteuid() == 0:
            import pwd  # not on Windows

            user = pwd.getpwnam("nobody")
            os.chown(str(self.folder), user.pw_uid, user.pw_gid)
            self._as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self.env = {
            "PGHOST": str(self.folder),
            "PGUSER": "postgres",
            "PGDATABASE": "postgres",
            "PGPORT": "5432",
        }
        self.dsn = f"host={self.folder} user=postgres dbname=postgres port=5432"
        # No password: only the folder's owner and root can use it.
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale")
        self.start()

    def _command(self, program, *words):
        return [*self._as_user, str(self._programs / program), "-D", str(self.folder / "data"), *words]

    def _run(self, *words):
        done = subprocess.run(
            self._command(*words), cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if done.returncode:
            raise AssertionError(done.stdout.decode())

    def start(self) -> None:
        """Return once it accepts clients."""
        with open(self.folder / "log", "ab") as log:
            command = self._command("postgres", "-h", "", "-k", str(self.folder))
            self._process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log)
        wait_until(self._accepts_clients, "PostgreSQL accepts clients")

    def _accepts_clients(self):
        import psycopg

        if self._process.poll() is not None:
            raise AssertionError((self.folder / "log").read_text())
        try:
            psycopg.connect(self.dsn).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: int = signal.SIGINT) -> None:
        """End it: SIGINT ends its sessions in order, SIGQUIT like a crash."""
        if self._process.poll() is None:
            self._process.send_signal(how)
        self._process.wait(PATIENCE)

    def restart(self, how: int = signal.SIGINT) -> None:
        self.stop(how)
        self.start()

    def connect(self, database: str = "postgres"):
        import psycopg

        return psycopg.connect(self.dsn, dbname=database, autocommit=True)

    def remove(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.stop(signal.SIGQUIT)
        shutil.rmtree(str(self.folder))
