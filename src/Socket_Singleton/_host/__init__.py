"""The modules that only a host imports.

==============  =========================================================================
`host`          the I/O thread: the port, and what happens on it
`peers`         the connections: their states, whose turn it is, who is dropped if there is no room
`packet`        the host's side of a connection without a name
`proof`         the host's side of a connection with a name
`inbox`         the launches that the host owns, until an observer is called
`delivery`      the observer thread: from the inbox to the observers
`observers`     the observers, and one round of calls
`launch`        a launch as observers see it
`streams`       its stdout and stderr
`replies`       the way back to a waiting launch: output, and the answer
`exits`         what happens to hosts when the interpreter exits
`forks`         what happens in a forked child
`threads`       how threads are started on each version of Python
`sockets`       what the host needs from the system for its sockets
`points`        named points in the host's threads, where a test can stop one
==============  =========================================================================
"""
