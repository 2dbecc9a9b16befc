"""How fast it is, beside its released version, its peers, and bare sockets: see compare.py."""
