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
byte begun;                    /* launches that have */
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

/* It is closed on both sides. */
inline forget(c) {
    d_step {
        connection[c].to = NOBODY;
        connection[c].packet = false;     connection[c].sender_end = false; connection[c].sender_reset = false;
        connection[c].queued = false;     connection[c].orderly = false;    connection[c].answer = false;
        connection[c].ack = false;        connection[c].host_end = false;   connection[c].host_reset = false
    }
}

/* Open on both sides; on the host's, whose connection it is. */
#define OPEN(c)    (connection[c].to == me && !connection[c].host_end && !connection[c].host_reset)
#define DROPPED(c) (OPEN(c) && (connection[c].sender_reset || SENDER(c) == STRANGER))
#define WHOLE(c)   (OPEN(c) && connection[c].packet && connection[c].sender_end && !connection[c].sender_reset)

/* src: _host._answer. Three calls; the byte goes with the end. Before the second it is a reset, whatever happens. */
inline confirm(c) {
    atomic { connection[c].answer = true; connection[c].orderly = true };
    atomic { connection[c].ack = true; connection[c].host_end = true }
}

/* src: _host.Host._own */
inline own(c) {
#ifdef ACK_BEFORE_QUEUE
    confirm(c);
#endif
    connection[c].queued = true;               /* src: _delivery.Delivery.put */
#ifdef HAND_OUT_BEFORE_ANSWER
    atomic { deliver(c) };
    confirm(c);
#elif defined(ACK_BEFORE_QUEUE)
    atomic { deliver(c); i = 0 };
#else
    confirm(c);
    atomic { deliver(c); i = 0 };              /* src: _delivery.Delivery.hand_out */
#endif
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
    /* They are alike, so it is no loss that their first steps come in this order. */
    atomic { begun == me -> begun++ };
    {
        skip;
claim:  /* src: _client.Endpoint.claim. Two can bind with SO_REUSEADDR; it is listen that decides. */
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
        /* src: _client.hand_over */
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
            :: connection[c].host_reset -> forget(c); goto claim
            :: else -> connection[c].packet = true
            fi
        };
        atomic {
            if
            :: connection[c].host_reset -> forget(c); goto claim
            :: else -> connection[c].sender_end = true
            fi
        };
        if
        :: atomic { connection[c].ack -> answered(c); forget(c); goto over }
        :: atomic { connection[c].host_reset && !connection[c].ack -> forget(c); goto claim }
        :: atomic {
            connection[c].host_end && !connection[c].ack ->
            once = true;
            asked[me] = connection[c].to;
            forget(c);
            goto claim
           }
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
        :: atomic { DROPPED(LAST) -> connection[LAST].host_reset = true }    /* src: _host.Host._drop */
        :: atomic { DROPPED(0) -> connection[0].host_reset = true }
        :: atomic { DROPPED(1) -> connection[1].host_reset = true }
        :: atomic { DROPPED(2) -> connection[2].host_reset = true }
        :: atomic { WHOLE(0) -> i = 0 }; own(i)
        :: atomic { WHOLE(1) -> i = 1 }; own(i)
        :: atomic { WHOLE(2) -> i = 2 }; own(i)
#if TRIES == 2
        :: atomic { WHOLE(3) -> i = 3 }; own(i)
        :: atomic { WHOLE(4) -> i = 4 }; own(i)
        :: atomic { WHOLE(5) -> i = 5 }; own(i)
#endif
        od;
        atomic { holds[me] = false; port = NOBODY };         /* src: _host.Host._free_port */
        d_step {               /* src: _host.Host._shut */
            for (i : 0 .. LAST) {
                if
                :: OPEN(i) ->
#ifdef ORDERLY_END
                    connection[i].host_end = true
#else
                    connection[i].host_reset = true
#endif
                :: else
                fi
            };
            i = 0
        };
over:   finished[me] = true
    } unless { was_killed[me] };
    finished[me] = true
}

/* ---- a host of 2.0.0: it reads what has come, delivers it, ends the connection, and says nothing ---- */

#define me OLD
#define TAKEN(c) (OPEN(c) && connection[c].packet)

/* Nothing is left unread, so the end is no reset, also if it is killed. */
inline take(c) {
    connection[c].queued = true;
    connection[c].orderly = true
}

inline last_of(c) {
    atomic { deliver(c) };
    atomic { connection[c].host_end = true; i = 0 }
}

proctype Old() {
    byte i;
    {
        do
        :: break
        :: atomic { TAKEN(0) -> take(0); i = 0 }; last_of(i)
        :: atomic { TAKEN(1) -> take(1); i = 1 }; last_of(i)
        :: atomic { TAKEN(2) -> take(2); i = 2 }; last_of(i)
        od;
        holds[OLD] = false;
        end_of(OLD)
    } unless { was_killed[OLD] };
    finished[OLD] = true
}

#undef me

/* Connects, and never sends a whole packet. */
proctype Stranger() {
end:                           /* finds nobody, and that is no deadlock */
    atomic { port != NOBODY -> connection[LAST].to = port }
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
