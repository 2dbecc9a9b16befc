"""Whose instance this is: where a name and a user lead to, and the key that proves both.

The mapping is documented, and never changes: another one would be a second host. Take
the BLAKE2b of 32 bytes over ``Socket_Singleton NUL user NUL name`` (the user as decimal
uid, on Windows as SID; all in UTF-8), and its first 8 bytes as a number, the most
significant byte first: the port is 10000 + number % 22768, from 10000 to 32767, below
what systems hand to outgoing connections. The quotient gives three digits to the base
254, the lowest first: they, plus 1, are the last three parts of the address, where all
of 127.0.0.0/8 is this machine.
"""

from __future__ import annotations

import errno
import os
import time

from . import _platform
from ._proof import Identity, digest
from ._settings import ADDRESS, PORT
from ._wire import encode_text

# Below the ports that Linux (from 32768) and others (from 49152) hand to outgoing connections,
# and above those that well-known services have.
_FIRST_PORT, _LAST_PORT = 10_000, 32_767

# Parts of an address that a name decides, each from 1 to 254: some systems treat 0 and 255 as special.
_PARTS, _PART_VALUES = 3, 254

# Bytes of the hash that decide the place: as much as the integers of most languages hold. There are
# 2 ** 39 places, so no place is likelier than another by more than one in 2 ** 25.
_PLACE_SIZE = 8

# Bytes, those of a digest.
KEY_SIZE = 32

# Fixed, and not after $XDG_STATE_HOME: all launches of a user must find the same key.
_FOLDER = (".local", "state", "Socket_Singleton")

# Seconds between two tries to open the key, where it is denied for a moment.
_DENIED_PAUSE = 0.005

# What always helps, where the file does not do.
_REMEDY = "give a secret instead (secret=)"


def check_name(name: object) -> None:
    """Check that ``name`` can be one.

    Raises:
        TypeError: it is no ``str``.
        ValueError: it is empty, has a NUL, or cannot be encoded.
    """
    if not encode_text("name", name):  # type: ignore[arg-type]
        raise ValueError("name must not be empty")


def place_of(name: str, user: str, whole_network: bool) -> tuple[str, int]:
    """Return the address and port of ``name`` for ``user``.

    Args:
        whole_network: whether all of 127.0.0.0/8 is this machine.
    """
    text = b"\0".join((b"Socket_Singleton", user.encode(), encode_text("name", name)))
    number = int.from_bytes(digest(text)[:_PLACE_SIZE], "big")
    number, offset = divmod(number, _LAST_PORT - _FIRST_PORT + 1)
    if not whole_network:
        return ADDRESS, _FIRST_PORT + offset
    parts = []
    for _ in range(_PARTS):
        number, part = divmod(number, _PART_VALUES)
        parts.append(str(part + 1))
    return ".".join(["127", *parts]), _FIRST_PORT + offset


def place_unless_given(name: str, address: str, port: int) -> tuple[str, int]:
    """Return where ``name`` of this user is; what is not at its default stays as it is."""
    own_address, own_port = place_of(name, _platform.user(), _platform.WHOLE_LOOPBACK)
    return (own_address if address == ADDRESS else address), (own_port if port == PORT else port)


def identify(name: str, secret: bytes | None, make_key: bool) -> Identity:
    """Return who proves to be ``name``: by ``secret``, or by the key of this user.

    Args:
        make_key: whether to make that key if there is none.

    Raises:
        OSError: it cannot be made or read, or is not to be trusted. FileNotFoundError:
            there is none, and it was not to be made.
    """
    # A key of BLAKE2b ends at 64 bytes; a secret may be longer.
    hashed = None if secret is None else digest(secret)
    key = hashed or _key_of_user(make_key)
    return Identity(encode_text("name", name), key)


def _key_of_user(make: bool) -> bytes:
    path = ""
    try:
        folder = _platform.state_base(_FOLDER)
        path = os.path.join(folder, "key")
        if make and not os.path.lexists(path):
            _make_key(folder, path)
        return _read_key(folder, path)
    except _NotTrusted as distrust:
        raise PermissionError(errno.EACCES, f"{distrust}; or {_REMEDY}", path) from None
    except OSError as error:
        text = f"{error.strerror}: the key that proves whose instance this is cannot be had; {_REMEDY}"
        raise type(error)(error.errno, text, path) from None


class _NotTrusted(Exception):
    """Somebody else may know this key; the text says why, and what to do."""


def _read_key(folder: str, path: str) -> bytes:
    """Return the key in the file ``path``, if nobody else can have put it there or read it."""
    try:
        descriptor = _open_key(path)
    except OSError:
        if os.path.islink(path):
            raise _NotTrusted(f"it is a link; remove it: {path}") from None
        raise
    try:
        problem = _platform.why_not_private(os.fstat(descriptor), os.lstat(folder))
        if problem:
            raise _NotTrusted(f"{problem}: {path}")
        key = os.read(descriptor, KEY_SIZE + 1)
    finally:
        os.close(descriptor)
    if len(key) != KEY_SIZE:
        raise _NotTrusted(f"the file has not {KEY_SIZE} bytes; remove it when no instance runs: {path}")
    return key


def _open_key(path: str) -> int:
    until = time.monotonic() + _platform.DENIED_TIME
    while True:
        try:
            return os.open(path, _platform.READ_NO_LINK)
        except PermissionError:
            if time.monotonic() >= until:
                raise
        time.sleep(_DENIED_PAUSE)


def _make_key(folder: str, path: str) -> None:
    """Make the file ``path`` with a new key, whole from its first moment on; or leave it, if it is there."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    unfinished = f"{path}.{os.getpid()}.{os.urandom(8).hex()}"
    descriptor = os.open(unfinished, _platform.CREATE_NO_LINK, 0o600)
    try:
        try:
            os.write(descriptor, os.urandom(KEY_SIZE))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _platform.give_name(unfinished, path)
    except FileExistsError:
        pass  # another launch was first, and its key is everybody's
    finally:
        try:
            os.unlink(unfinished)
        except FileNotFoundError:
            pass  # it has one name, the right one
