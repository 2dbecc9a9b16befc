"""Whose instance this is: where a name and a user lead to, and who proves to be both.

The mapping is documented, and never changes: another one would be a second host. Take
the BLAKE2b of 32 bytes over ``Socket_Singleton NUL user NUL name`` (the user as decimal
uid, on Windows as SID; all in UTF-8), and its first 8 bytes as a number, the most
significant byte first: the port is 10000 + number % 22768, from 10000 to 32767, below
what systems hand to outgoing connections. The quotient gives three digits to the base
254, the lowest first: they, plus 1, are the last three parts of the address, where all
of 127.0.0.0/8 is this machine.
"""

import os

from . import _key_file
from ._packet import encode_text
from ._proof import Identity, digest
from ._settings import ADDRESS, PORT

# Below the ports that Linux (from 32768) and others (from 49152) hand to outgoing connections,
# and above those that well-known services have.
_FIRST_PORT, _LAST_PORT = 10_000, 32_767

# Parts of an address that a name decides, each from 1 to 254: some systems treat 0 and 255 as special.
_PARTS, _PART_VALUES = 3, 254

# Bytes of the hash that decide the place: as much as the integers of most languages hold. There are
# 2 ** 39 places, so no place is likelier than another by more than one in 2 ** 25.
_PLACE_SIZE = 8


def check_name(name: object) -> None:
    """Check that ``name`` can be one.

    Raises:
        TypeError: it is no ``str``.
        ValueError: it is empty, has a NUL, or cannot be encoded.
    """
    if not encode_text("name", name):  # type: ignore[arg-type]
        raise ValueError("name must not be empty")


def place_of(name: str, user: str, whole_network: bool) -> "tuple[str, int]":
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


def place_unless_given(name: str, address: str, port: int) -> "tuple[str, int]":
    """Return where ``name`` of this user is; what is not at its default stays as it is."""
    own_address, own_port = place_of(name, _key_file.user(), _key_file.WHOLE_LOOPBACK)
    return (own_address if address == ADDRESS else address), (own_port if port == PORT else port)


def identify(name: str, secret: "bytes | None", make_key: bool) -> Identity:
    """Return who proves to be ``name``: by ``secret``, or by the key of this user.

    Args:
        make_key: whether to make that key if there is none.

    Raises:
        OSError: it cannot be made or read, or is not to be trusted. FileNotFoundError:
            there is none, and it was not to be made.
    """
    return Identity(encode_text("name", name), key_for(secret, make_key), *_key_file.network())


def key_for(secret: "bytes | None", make_key: bool) -> bytes:
    """Return the key: the secret's, or that of this user. Arguments and errors are those of `identify`."""
    # A key of BLAKE2b ends at 64 bytes; a secret may be longer.
    return _key_file.key_of_user(make_key) if secret is None else digest(secret)


def identify_without_key(name: str, error: FileNotFoundError) -> Identity:
    """Return who asks for ``name`` where there is no key, as ``error`` says: nobody can prove to have it."""
    network, doubt = _key_file.network()
    no_key = str(error.strerror)
    if error.filename:
        hint = f"if the application has a secret, give it {_key_file.PARAMETER}"
        no_key = f"this user has no key yet, {error.filename}; {hint}"
    doubt = f"{no_key}; {doubt}" if doubt else no_key
    return Identity(encode_text("name", name), os.urandom(_key_file.KEY_SIZE), network, doubt)
