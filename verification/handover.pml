/*
 * The hand-over of launches without a name, as a model for SPIN; `handover.py` runs it.
 *
 * Three launches, each of which may come to be the host; before them, perhaps, a
 * host of 2.0.0; one stranger that connects and never sends a whole packet. Any
 * host may release, and whoever it is may be killed, between any two steps
 * (`KILLS` in all). A launch may find its time over wherever it waits.
 *
 * What must hold:
 *   - there are never two hosts                             (assertion in `claim`)
 *   - no launch is delivered twice, a stranger never        (assertion in `deliver`)
 *   - each launch is the host; or its arguments are with a host when it is told
 *     so, and stay there unless that host is killed; or it is told that they are
 *     not known to be; or it was killed                     (`answered`, `Judge`)
 *   - nothing waits for ever                                (SPIN: no invalid end state)
 *
 * "src:" names the function that a step stands for. A step is what the system does
 * at once: what it says holds however the steps of all processes follow each other.
 */

#define LAUNCHES 3
#define OLD      LAUNCHES      /* the host of 2.0.0; as a connection: the stranger's */
#define STRANGER LAUNCHES
#define NOBODY   255
#ifndef KILLS
#define KILLS    2
#endif

#ifdef ASK_AGAIN_AFTER_SILENCE
#define TRIES 2                /* connections of a launch: one that it gave up may still be there */
#else
#define TRIES 1
#endif
#define CONNECTIONS (LAUNCHES * TRIES + 1)
#define LAST        (CONNECTIONS - 1)      /* the stranger's */
#define SENDER(c)   (c / TRIES)            /* for the last it is STRANGER in either case */

mtype = { running, host, owned, quiet, told, killed };

byte port = NOBODY;            /* who listens there */
mtype is[LAUNCHES + 1] = running;
bool holds[LAUNCHES + 1];      /* it has become the host, and does not release yet */
bool finished[LAUNCHES + 1];
bool was_killed[LAUNCHES + 1];
byte delivered[LAUNCHES + 1];  /* to an observer, or left in `arguments` */
byte asked[LAUNCHES] = NOBODY; /* who was at the other end when it was answered */

typedef Connection {
    byte to = NOBODY;          /* whose it is on the other side */
    /* What has come from the launch. */
    bool packet;
    bool sender_end;
    bool sender_reset;
    /* What the host has done. */
    bool queued;
    bool orderly;              /* the end of its side will not be a reset */
    bool answer;               /* is in its buffer */
    /* What has come from the host. */
    bool ack;
    bool host_end;
    bool host_reset;
};
Connection connection[CONNECTIONS];

inline deliver(c) {
    delivered[SENDER(c)]++;
    assert(SENDER(c) != STRANGER);
    assert(delivered[SENDER(c)] == 1)
}

/* The system ends what a process leaves open. */
inline end_of(who) {
    d_step {
        byte d;
        for (d : 0 .. LAST) {
            if
            :: connection[d].to == who && !connection[d].host_end && !connection[d].host_reset ->
                if
                :: connection[d].orderly -> connection[d].ack = connection[d].answer; connection[d].host_end = true
                :: else -> connection[d].host_reset = true
                fi
            :: else
            fi
        };
        if
        :: port == who -> port = NOBODY
        :: else
        fi
        d = 0
    }
}

/* ---- a launch ---- */

inline forget(c) {
    d_step {
        connection[c].packet = false;     connection[c].sender_end = false; connection[c].sender_reset = false;
        connection[c].queued = false;     connection[c].orderly = false;    connection[c].answer = false;
        connection[c].ack = false;        connection[c].host_end = false;   connection[c].host_reset = false
    }
}

inline answered(c) {
    is[me] = owned;
    asked[me] = connection[c].to;
    /* Whoever was told finds itself there. */
    assert(was_killed[asked[me]] || connection[c].queued)
}

proctype Launch(byte me) {
    byte c = me * TRIES;
    byte i;
    bool once = false;         /* it has seen an end without an answer: one more claim, and no more */
    bool again = false;        /* it has asked */
    {
        skip;
claim:  /* src: _client.Endpoint.claim (bind: with SO_REUSEADDR two can do that) */
        if
        :: port != NOBODY -> goto taken
        :: port == NOBODY
        fi;
        /* src: _client.Endpoint.claim (listen) */
        atomic {
            if
            :: port == NOBODY ->
                port = me;
                holds[me] = true;
                is[me] = host;
                assert(holds[0] + holds[1] + holds[2] + holds[OLD] == 1);
                goto serve
            :: else
            fi
        };
taken:  /* src: _client.hand_over */
        if
        :: once -> is[me] = quiet; goto over
        :: !once
        :: !once && again -> is[me] = told; goto over      /* no time for another try */
        fi;
        /* src: _client.Endpoint.ask */
        atomic {
            if
            :: port == NOBODY -> again = true; goto claim  /* refused */
            :: else -> forget(c); connection[c].to = port; again = true
            fi
        };
        /* Each of these fails if the host has reset; killed in between, it is a reset to the host. */
        atomic {
            if
            :: connection[c].host_reset -> goto claim
            :: else -> connection[c].packet = true
            fi
        };
        atomic {
            if
            :: connection[c].host_reset -> goto claim
            :: else -> connection[c].sender_end = true
            fi
        };
        if
        :: atomic { connection[c].ack -> answered(c); goto over }
        :: atomic { connection[c].host_reset && !connection[c].ack -> goto claim }
        :: atomic { connection[c].host_end && !connection[c].ack -> once = true; asked[me] = connection[c].to; goto claim }
        :: true ->             /* silence */
#ifdef ASK_AGAIN_AFTER_SILENCE
            if
            :: c % TRIES == 0 -> c++; goto claim
            :: else
            fi;
#endif
            is[me] = told; goto over
        fi;

        /* ---- a host ---- */
serve:
        do
        :: break               /* src: _singleton.Socket_Singleton.release, or any other end of the service */
        :: i < CONNECTIONS - 1 -> i++
        :: i > 0 -> i--
        :: connection[i].to == me && !connection[i].host_end && !connection[i].host_reset ->
            if
            :: connection[i].sender_reset || (SENDER(i) == STRANGER && !connection[i].sender_end) ->
                connection[i].host_reset = true            /* src: _host.Host._drop */
            :: connection[i].packet && connection[i].sender_end && !connection[i].sender_reset ->
#ifdef ACK_BEFORE_QUEUE
                connection[i].answer = true;
                connection[i].orderly = true;
                atomic { connection[i].ack = true; connection[i].host_end = true };
#endif
                connection[i].queued = true;               /* src: _delivery.Delivery.put */
#ifdef HAND_OUT_BEFORE_ANSWER
                atomic { deliver(i) };
#endif
#ifndef ACK_BEFORE_QUEUE
                /* src: _host._answer (three calls; the byte goes with the end) */
                connection[i].answer = true;
                connection[i].orderly = true;
                atomic { connection[i].ack = true; connection[i].host_end = true };
#endif
#ifndef HAND_OUT_BEFORE_ANSWER
                atomic { deliver(i) };                     /* src: _delivery.Delivery.hand_out */
#endif
            :: else
            fi
        od;
        holds[me] = false;
        port = NOBODY;         /* src: _host.Host._free_port */
        i = 0;
        do
        :: i == CONNECTIONS -> break
        :: i < CONNECTIONS ->
            atomic {           /* src: _host.Host._shut */
                if
                :: connection[i].to == me && !connection[i].host_end && !connection[i].host_reset ->
#ifdef ORDERLY_END
                    connection[i].host_end = true
#else
                    connection[i].host_reset = true
#endif
                :: else
                fi;
                i++
            }
        od;
over:   finished[me] = true
    } unless { was_killed[me] };
    finished[me] = true
}

/* ---- a host of 2.0.0: it reads what has come, delivers it, ends the connection, and says nothing ---- */

proctype Old() {
    byte i;
    {
        do
        :: break
        :: i < CONNECTIONS - 1 -> i++
        :: i > 0 -> i--
        :: atomic {
            connection[i].to == OLD && connection[i].packet && !connection[i].host_end && !connection[i].host_reset ->
            connection[i].queued = true;
            connection[i].orderly = true   /* nothing is left unread, so its end is no reset */
           };
           atomic { deliver(i) };
           connection[i].host_end = true
        od;
        holds[OLD] = false;
        end_of(OLD)
    } unless { was_killed[OLD] };
    finished[OLD] = true
}

/* Connects, perhaps sends something that is no packet, perhaps resets, perhaps does nothing more. */
proctype Stranger() {
    if
    :: atomic { port != NOBODY -> connection[LAST].to = port };
        if
        :: connection[LAST].sender_reset = true
        :: true
        fi
    :: true
    fi
}

inline kill(who) {
    atomic {
        !finished[who] && !was_killed[who] ->
        was_killed[who] = true;
        holds[who] = false;
        end_of(who);
        if
        :: who < LAUNCHES && is[who] != host ->
            is[who] = killed;
            /* With the end of its stream on its way it is a launch like any other. */
            for (k : who * TRIES .. who * TRIES + TRIES - 1) {
                if
                :: connection[k].to != NOBODY && !connection[k].sender_end -> connection[k].sender_reset = true
                :: else
                fi
            };
            k = 0
        :: else
        fi
    }
}

proctype Killer() {
    byte kills, k;
    do
    :: kills == KILLS -> break
    :: break
    :: kills < KILLS ->
        kills++;
        if
        :: kill(0)
        :: kill(1)
        :: kill(2)
        :: kill(OLD)
        :: true
        fi
    od
}

/* When all have ended. */
proctype Judge() {
    byte who;
    finished[0] && finished[1] && finished[2] && finished[OLD];
    for (who : 0 .. LAUNCHES - 1) {
        assert(is[who] != running);
        assert(is[who] != owned || delivered[who] == 1 || was_killed[asked[who]]);
        /* An end without an answer is what 2.0.0 says to a launch that it has taken. */
        assert(is[who] != quiet || delivered[who] == 1 || was_killed[asked[who]]);
        /* A host has nothing to hand over; but 2.0.0 may take a launch, release, and leave it the port. */
        assert(is[who] != host || delivered[who] == 0 || asked[who] == OLD)
    }
}

init {
    atomic {
        if
        :: port = OLD; holds[OLD] = true; run Old()
        :: finished[OLD] = true
        fi;
        run Launch(0);
        run Launch(1);
        run Launch(2);
        run Stranger();
        run Killer();
        run Judge()
    }
}
