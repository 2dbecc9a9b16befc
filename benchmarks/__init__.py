"""How fast it is, compared with its released version, other libraries, and bare sockets: see compare.py."""
