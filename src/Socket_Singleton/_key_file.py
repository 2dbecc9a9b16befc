"""The user, the network that this process is in, and the file with the user's key.

For that file: where it is, who may read it, and how it is created.
"""

import errno
import os
import sys
import time

# Whether all of 127.0.0.0/8 is this machine, so that each name can have an address of its own
# there. macOS and the BSDs only have 127.0.0.1 until somebody adds other addresses.
WHOLE_LOOPBACK = sys.platform in ("linux", "android", "win32", "cygwin")

# Flags for `os.open`: links are not followed. Python itself ensures that no child inherits the file.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
READ_NO_LINK = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _NO_LINK
CREATE_NO_LINK = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK

# Seconds for which a file may be denied although it can be read. Windows does so while somebody gives
# it its name or removes another of its names, for well under a millisecond.
DENIED_TIME = 0.5 if sys.platform == "win32" else 0.0

# Which boot of which machine this is, and which of its networks a thread is in: threads can be in
# different ones. Linux has thread-self since 3.17.
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_NETWORKS = ("/proc/thread-self/ns/net", "/proc/self/ns/net")

# The file is missing, or this process may not read it. Its later launches will find the same.
_UNREADABLE = (FileNotFoundError, NotADirectoryError, PermissionError)


def give_place(unfinished: str, folder: str, name: str) -> None:
    """Make the file ``name`` in ``unfinished`` appear in ``folder`` in one step, unless one is there.

    ``unfinished`` is a folder beside ``folder``, with nothing else in it.

    On Unix this is a hard link, because a rename would replace an existing file. Where there are none
    (FAT, Android), the folder itself is renamed, which replaces an empty folder but no other (rename(2)).
    On Windows it is a rename, which replaces nothing there; with a link, the first of the two names could
    not be removed while somebody reads the file (learn.microsoft.com, MoveFileEx, CreateFile).

    Raises:
        OSError: the file is not there afterwards, or another one is.
    """
    source, target = os.path.join(unfinished, name), os.path.join(folder, name)
    if sys.platform == "win32":
        os.rename(source, target)
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except (AttributeError, OSError):
        os.rename(unfinished, folder)


# Bytes, as many as a digest has.
KEY_SIZE = 32

# Fixed, whatever $XDG_STATE_HOME is, because all launches of a user must find the same key.
_FOLDER = (".local", "state", "Socket_Singleton")

# Seconds between two attempts to open the key while access is denied.
_DENIED_PAUSE = 0.005

_NAME = "key"

# How a secret is given, which the command line does in another way; and what always helps if the key file
# cannot be used.
PARAMETER = "(secret=)"
_REMEDY = f"use a secret instead {PARAMETER}"


def key_of_user(make: bool) -> bytes:
    """Return the key of this user; see `_identity.identify` for the errors."""
    path = ""
    try:
        folder = state_base(_FOLDER)
        path = os.path.join(folder, _NAME)
        if make and not os.path.lexists(path):
            _make_key(folder, path)
        return _read_key(folder, path)
    except _NotTrusted as distrust:
        raise PermissionError(errno.EACCES, f"{distrust}; or {_REMEDY}", path) from None
    except OSError as error:
        what = f"{error.strerror}: cannot read or create this user's key; {_REMEDY}"
        raise type(error)(error.errno, what, path or None) from None


class _NotTrusted(Exception):
    """Somebody else may know this key; the message says why, and what to do."""


def _read_key(folder: str, path: str) -> bytes:
    """Return the key in the file ``path``, provided that nobody else can have put it there or read it."""
    try:
        descriptor = _open_key(path)
    except OSError:
        if os.path.islink(path):
            raise _NotTrusted("it is a link; remove it") from None
        raise
    try:
        problem = why_not_private(os.fstat(descriptor), os.lstat(folder))
        if problem:
            raise _NotTrusted(problem)
        key = os.read(descriptor, KEY_SIZE + 1)
    finally:
        os.close(descriptor)
    if len(key) != KEY_SIZE:
        raise _NotTrusted(
            f"the file is damaged: it should hold {KEY_SIZE} bytes; remove it when no instance is running"
        )
    return key


def _open_key(path: str) -> int:
    for _ in range(int(DENIED_TIME / _DENIED_PAUSE)):  # not by the clock, which tests may have stopped
        try:
            return os.open(path, READ_NO_LINK)
        except PermissionError:
            time.sleep(_DENIED_PAUSE)
    return os.open(path, READ_NO_LINK)


def _make_key(folder: str, path: str) -> None:
    """Create the file ``path`` with a new key, complete as soon as it appears; keep an existing file."""
    _make_folder(folder)
    unfinished = f"{folder}.{os.getpid()}.{os.urandom(8).hex()}"
    part = os.path.join(unfinished, _NAME)
    os.mkdir(unfinished, 0o700)
    try:
        _write(part, os.urandom(KEY_SIZE))
        give_place(unfinished, folder, _NAME)
    except OSError:
        if not os.path.lexists(path):  # else another launch was first, and all use its key
            raise
    finally:
        for remove, left in ((os.unlink, part), (os.rmdir, unfinished)):
            try:
                remove(left)
            except OSError:
                pass  # it has been moved, or does no harm where it is


def _make_folder(folder: str) -> None:
    """Create ``folder`` and its missing parents, for this user only, whatever the umask is."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder, before = os.path.dirname(folder), folder
        if folder == before:
            break  # a Windows drive that does not exist; creating it fails
    for level in reversed(missing):
        try:
            os.mkdir(level, 0o700)
        except FileExistsError:
            pass  # another launch was first; if it is not a folder, the next step fails


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, CREATE_NO_LINK, 0o600)
    try:
        while data:  # the system may write less at once, as when the disk is full
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def user() -> str:
    """Return the identifier of this user: the uid in decimal digits, or on Windows the SID."""
    if sys.platform == "win32":
        return _windows_sid()
    return str(os.geteuid())


def state_base(folder: "tuple[str, ...]") -> str:
    """Return where this user keeps ``folder``.

    It is under $HOME if that belongs to this user (under ``sudo`` it may not), else
    under the home directory of the account; on Windows it is under %LOCALAPPDATA%.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~")
        return os.path.join(base, folder[-1])
    home = os.environ.get("HOME", "")
    try:
        own = os.path.isabs(home) and os.stat(home).st_uid == os.geteuid()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        own = False  # any other error may be temporary, and the next launch would look elsewhere
    if not own:
        import pwd

        try:
            home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            home = ""
        if not os.path.isabs(home):  # else there would be one key for each working directory of launches
            raise OSError(errno.ENOENT, "this user has no home")
    return os.path.join(home, *folder)


def why_not_private(file: os.stat_result, folder: os.stat_result) -> str:
    """Return why others may read or replace a file, and what to do about it; "" if they cannot.

    On Windows nothing is checked: what is under %LOCALAPPDATA% is the user's own by default.
    """
    if sys.platform == "win32":
        return ""
    import stat

    me = os.geteuid()
    if not stat.S_ISREG(file.st_mode):
        return "it is not a regular file; remove it"
    if file.st_uid != me:
        return "it belongs to another user; remove it"
    if file.st_mode & 0o077:
        return "others can read or write it; chmod 600, or remove it"
    if not stat.S_ISDIR(folder.st_mode) or folder.st_uid != me:
        return "its folder is a link, or belongs to another user; remove the folder"
    return "others can write to its folder; chmod 700 the folder" if folder.st_mode & 0o022 else ""


if sys.platform == "win32":

    def _windows_sid() -> str:
        """Return the SID of the user who runs this process (learn.microsoft.com, OpenProcessToken)."""
        import ctypes
        from ctypes import wintypes

        token_query, token_user = 8, 1
        kernel32, advapi32 = ctypes.WinDLL("kernel32"), ctypes.WinDLL("advapi32")
        kernel32.GetCurrentProcess.restype = wintypes.HANDLE
        advapi32.OpenProcessToken.argtypes = (
            wintypes.HANDLE,
            wintypes.DWORD,
            ctypes.POINTER(wintypes.HANDLE),
        )
        advapi32.ConvertSidToStringSidW.argtypes = (ctypes.c_void_p, ctypes.POINTER(wintypes.LPWSTR))
        kernel32.LocalFree.argtypes = (ctypes.c_void_p,)
        kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
        token, size, text = wintypes.HANDLE(), wintypes.DWORD(), wintypes.LPWSTR()
        process = kernel32.GetCurrentProcess()
        if not advapi32.OpenProcessToken(process, token_query, ctypes.byref(token)):
            raise OSError(
                errno.EACCES,
                "the system does not say who this user is; use a port and secret= instead of a name",
            )
        try:
            advapi32.GetTokenInformation(token, token_user, None, 0, ctypes.byref(size))
            buffer = ctypes.create_string_buffer(size.value)
            filled = advapi32.GetTokenInformation(token, token_user, buffer, size, ctypes.byref(size))
            # A TOKEN_USER begins with a pointer to the SID.
            sid = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_void_p))[0] if filled else None
            if not sid or not advapi32.ConvertSidToStringSidW(sid, ctypes.byref(text)):
                raise OSError(
                    errno.EACCES,
                    "the system does not say who this user is; use a port and secret= instead of a name",
                )
            try:
                return str(text.value)
            finally:
                kernel32.LocalFree(text)
        finally:
            kernel32.CloseHandle(token)


def network() -> "tuple[bytes, str]":
    """Return which network of which machine this thread is in, and a message about what could not be read.

    Only Linux provides this (network_namespaces(7)); elsewhere both are empty. The boot id distinguishes
    machines that share a home, because the first network of each machine has the same number.

    Raises:
        OSError: a failure that may be temporary; otherwise the next launch might find another network.
    """
    if sys.platform not in ("linux", "android"):  # pragma: no cover (coverage is measured on Linux)
        return b"", ""
    boot = number = b""
    unread = []
    try:
        with open(_BOOT_ID, "rb") as file:
            boot = file.read().strip()
    except _UNREADABLE as error:
        unread.append(f"{_BOOT_ID} ({error.strerror})")
    for path in _NETWORKS:
        try:
            number = os.readlink(path).encode()
            break
        except _UNREADABLE as error:
            refusal = f"{path} ({error.strerror})"
    else:
        unread.append(refusal)
    return boot + b" " + number, f"this process could not read {' and '.join(unread)}" if unread else ""
