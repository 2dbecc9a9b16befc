"""Everything at once against one port, at random, while all promises are checked.

    python -m verification.soak --seconds 60 --seed 7

Launches come in a stream, each a process of its own: interpreters with a real
command line and, for volume, forked children. A launch that becomes the host lives
for some tens of milliseconds and releases, times out, reaches its threshold,
just ends, or is killed; launches are killed, too. Hosts are stopped while
launches wait, and then continue or are killed. Between them come peers that reset,
stall, dribble, show a wrong secret or send garbage.

Time is cut into rounds:

- `schedule` draws the events from the seed;
- `rounds` starts, stops and kills the processes, and waits for them;
- `actors` is what happens in them; each says in one log what it does;
- `judge` reads that log when all have ended.

Half of the rounds have a name.
"""
