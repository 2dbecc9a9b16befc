"""A launch whose sys.argv was reassigned before the constructor."""

import sys

from Socket_Singleton import Socket_Singleton

port = sys.argv[1]
sys.argv = ["app.py", "not", "what", "was typed"]
Socket_Singleton(port=port)
