"""Everything at once against one port, at random, and the promises checked throughout.

    python -m verification.soak --seconds 60 --seed 7

Launches come in a stream, each a process of its own: interpreters with a real
command line, and, for volume, forked children. Whoever becomes the host lives
for some tens of milliseconds and releases, times out, reaches its threshold,
just ends, or is killed; launches are killed, too. Hosts are stopped while
launches wait, and then go on or are killed. Between them come peers that reset,
stall, dribble, show a wrong secret or send garbage.

Time is cut into rounds:

- `schedule` draws from the seed what is to happen;
- `rounds` starts, stops and kills the processes, and waits for them;
- `actors` is what happens in them; each says in one log what it does;
- `judge` reads that log when all have ended.

Where the parameter ``name`` exists, half of the rounds use it.
"""
