"""A second launch of whichever Socket_Singleton is on the path.

old_launch.py PORT SECRET WORD ...    an empty SECRET means none
"""

import sys

from Socket_Singleton import Socket_Singleton

port, secret = int(sys.argv[1]), sys.argv[2] or None
del sys.argv[1:3]
Socket_Singleton(port=port, secret=secret)
print("Singleton locked", flush=True)
