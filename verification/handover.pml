/*
 * The hand-over of launches as a model for SPIN; `handover.py` runs it. With NAMED it is that of launches with a
 * name: hello, proofs, then the packet; and each launch may ask, and wait for what an observer answers.
 *
 * `LAUNCHES` launches, each of which may become the host; before them, perhaps, another program on the port: a host
 * of 2.0.0, which with NAMED is a stranger like any other program. A host may release, and any process may be killed,
 * between any two steps (`KILLS` in all). The time of a launch may be over wherever it waits. With two launches
 * (`WHIMS`) a host may also reach its threshold, refuse a launch, drop a connection to make room, and find no memory
 * for an answer; and one peer connects that never sends a whole packet, but half a hello or a false proof.
 *
 * What must hold:
 *   - there are never two hosts                             (assertion in `become_host`)
 *   - no launch is delivered twice, a stranger never        (assertion in `deliver`)
 *   - each launch is the host; or its arguments are with a host when they are
 *     acknowledged, and stay there unless that host is killed; or it fails with a
 *     message; or is refused, and not delivered; or was killed
 *                                                           (`answered`, `Judge`)
 *   - our hosts do not end in order what they have not answered
 *   - nothing waits for ever                                (SPIN: no invalid end state)
 *
 * "src:" names the function that a step stands for. A step is what the system does
 * at once, so the result holds for every order of the steps of all processes.
 */

#ifndef LAUNCHES
#define LAUNCHES 3
#endif
#define OLD      LAUNCHES      /* what had the port before; as a connection: the stranger's */
#define STRANGER LAUNCHES
#define NOBODY   255
#ifndef KILLS
#define KILLS    1
#endif
/* What else a host may do at any time, and a stranger: too much for more than two launches. */
#if LAUNCHES == 2
#define WHIMS    true
#else
#define WHIMS    false
#endif

#ifdef ASK_AGAIN_AFTER_SILENCE
#define TRIES 2                /* connections of a launch: one that it gave up may still exist */
#else
#define TRIES 1
#endif
#define CONNECTIONS (LAUNCHES * TRIES + 1)
#define LAST        (CONNECTIONS - 1)      /* the stranger's */
#define SENDER(c)   (c / TRIES)            /* for the last one it is STRANGER in any case */

#if LAUNCHES == 2
#define HOSTS        (holds[0] + holds[1] + holds[OLD])
#define ALL_FINISHED (finished[0] && finished[1] && finished[OLD])
#else
#define HOSTS        (holds[0] + holds[1] + holds[2] + holds[OLD])
#define ALL_FINISHED (finished[0] && finished[1] && finished[2] && finished[OLD])
#endif

mtype = { running, host, owned, quiet, refused, failed, lost, killed };

byte port = NOBODY;            /* which process listens there */
mtype is[LAUNCHES + 1] = running;
bool holds[LAUNCHES + 1];      /* it has become the host, and has not released yet */
bool finished[LAUNCHES + 1];
bool was_killed[LAUNCHES + 1];
byte delivered[LAUNCHES + 1];  /* to an observer, or left in `arguments` */
byte begun;                    /* launches that have begun */
byte asked[LAUNCHES] = NOBODY; /* which process was at the other end when it was answered */

typedef Connection {
    byte to = NOBODY;          /* the process on the other side */
    /* What has arrived from the launch. */
    bool packet;               /* with NAMED: and the proof before it */
    bool sender_end;
    bool sender_reset;
    /* What the host has done. */
    bool queued;
    bool orderly;              /* the end of its side will not be a reset */
    bool answer;               /* is in its buffer */
    /* What has arrived from the host. */
    bool ack;
    bool nak;
    bool host_end;
    bool host_reset;
#ifdef NAMED
    bool hello;                /* of the launch */
    bool asks;                 /* is part of what it proves */
    bool greeted;              /* by a host that has proved itself */
    bool frame;                /* what an observer answered */
#endif
};
Connection connection[CONNECTIONS];

inline deliver(c) {
    delivered[SENDER(c)]++;
    assert(SENDER(c) != STRANGER);
    assert(delivered[SENDER(c)] == 1)
}

/* The system closes what a process leaves open. */
inline end_of(who) {
    d_step {
        byte d;
        for (d : 0 .. LAST) {
            if
            :: connection[d].to == who && !connection[d].host_end && !connection[d].host_reset ->
                if
                :: connection[d].orderly ->
                    connection[d].ack = (connection[d].ack || connection[d].answer);
                    connection[d].host_end = true
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

/* It is closed on both sides. */
inline forget(c) {
    d_step {
        connection[c].to = NOBODY;
        connection[c].packet = false;     connection[c].sender_end = false; connection[c].sender_reset = false;
        connection[c].queued = false;     connection[c].orderly = false;    connection[c].answer = false;
        connection[c].ack = false;        connection[c].nak = false;
#ifdef NAMED
        connection[c].hello = false;      connection[c].asks = false;
        connection[c].greeted = false;    connection[c].frame = false;
#endif
        connection[c].host_end = false;   connection[c].host_reset = false
    }
}

/* ---- a host ---- */

/* Open on both sides, that of the host being its owner. */
#define OPEN(c)    (connection[c].to == me && !connection[c].host_end && !connection[c].host_reset)
#define UNOWNED(c) (OPEN(c) && !connection[c].queued)
#ifdef NAMED
/* A reset that it has not seen yet is noticed when it answers. */
#define WHOLE(c)   (UNOWNED(c) && connection[c].packet)
#define ASKS(c)    connection[c].asks
#else
#define WHOLE(c)   (UNOWNED(c) && connection[c].packet && connection[c].sender_end && !connection[c].sender_reset)
#define ASKS(c)    false
#endif

/* src: _host.host.Host._free_port */
inline free_port() {
    d_step {
        holds[me] = false;
        if
        :: port == me -> port = NOBODY
        :: else
        fi
    }
}

/* src: _host.inbox.Inbox.withdraw; then src: _host.host.Host._drop */
inline take_back(c) {
    d_step { connection[c].queued = false; connection[c].host_reset = true }
}

/* src: _host.host.Host._acknowledge. While its end would still be a reset, it is not handed out. */
inline confirm(c) {
    if
#ifdef NAMED
    :: atomic { connection[c].sender_reset -> take_back(c); goto turn }
    :: atomic { !connection[c].sender_reset -> connection[c].ack = true };     /* the launch, or the answer, ends it */
        connection[c].orderly = true   /* src: _host.host.Host._ends_in_order */
#else
    /* Three calls; the byte is sent with the end. Before the second call, the end is a reset, whatever happens. */
    :: atomic { connection[c].answer = true; connection[c].orderly = true };
        atomic { connection[c].ack = true; connection[c].host_end = true }     /* src: _host.host.Host._end */
#endif
    :: atomic { WHIMS -> take_back(c); goto turn }     /* no memory for the byte */
    fi
}

inline enqueue(c) {
    connection[c].queued = true;               /* src: _host.inbox.Inbox.put */
    if
    :: true
    :: WHIMS -> free_port()                    /* src: _host.host.Host._count_client: the threshold is reached */
    fi
}

/* src: _host.host.Host._own */
inline own(c) {
#ifdef ACK_BEFORE_QUEUE
    confirm(c);
    enqueue(c);
    atomic { deliver(c); goto turn }
#elif defined(HAND_OUT_BEFORE_ANSWER)
    enqueue(c);
    atomic { deliver(c) };
    confirm(c);
    goto turn
#else
    enqueue(c);
    confirm(c);
    atomic { deliver(c); goto turn }           /* src: _host.inbox.Inbox.has_acknowledged */
#endif
}

/* src: _host.host.Host._refuse: enough clients, another secret. */
inline refuse(c) {
    connection[c].nak = true;
    connection[c].host_end = true
}

#define DROP(c)  :: atomic { holds[me] && UNOWNED(c) && (WHIMS || connection[c].sender_reset) -> connection[c].host_reset = true }
#define SERVE(c) :: atomic { holds[me] && WHOLE(c) -> i = c }; own(i)
#define REFUSE(c) :: atomic { WHIMS && holds[me] && WHOLE(c) -> refuse(c) }
#ifdef NAMED
/* src: _host.proof.HostSide._greet */
#define GREET(c) :: atomic { holds[me] && UNOWNED(c) && connection[c].hello && !connection[c].greeted -> connection[c].greeted = true }
/* src: _host.host.Host._push */
#define ANSWER(c) :: atomic { holds[me] && OPEN(c) && connection[c].queued && ASKS(c) -> connection[c].frame = true; connection[c].host_end = true }
#define ALL_OF(c) DROP(c) GREET(c) SERVE(c) REFUSE(c) ANSWER(c)
#else
#define ALL_OF(c) DROP(c) SERVE(c) REFUSE(c)
#endif

/* ---- a launch ---- */

/* src: _client.Endpoint.claim. Two can bind with SO_REUSEADDR; listen decides. */
inline become_host() {
    port = me;
    holds[me] = true;
    is[me] = host;
    assert(HOSTS == 1)
}

inline answered(c) {
    is[me] = owned;
    asked[me] = connection[c].to;
    /* An acknowledged launch is in the queue of the host that answered it. */
    assert(was_killed[asked[me]] || connection[c].queued)
}

proctype Launch(byte me) {
    byte c = me * TRIES;
    byte i;
    bool once = false;         /* it has seen an end without an answer: it claims only once more */
    bool again = false;        /* it has asked before */
    /* They are alike, so nothing is lost if their first steps come in this order. */
    atomic { begun == me -> begun++ };
    {
        skip;
claim:  atomic {
            i = 0;
            if
            :: port == NOBODY -> become_host(); goto turn
            :: else
            fi
        };
        /* src: _client.hand_over */
        if
        :: once -> is[me] = quiet; goto over
        :: !once
        :: !once && again -> is[me] = failed; goto over      /* no time for another attempt */
        fi;
        /* src: _client.Endpoint.ask */
        atomic {
            again = true;
            if
            :: port == NOBODY -> goto claim    /* refused */
            :: else -> forget(c); connection[c].to = port
            fi
        };
        /* Sending fails if the host has reset; if it is killed in between, the host sees a reset. */
#ifdef NAMED
        atomic {               /* src: _proof.LaunchSide.open */
            if
            :: connection[c].host_reset -> goto claim
            :: else -> connection[c].hello = true
            fi
        };
        if                     /* src: _proof.LaunchSide._judge_hello */
        :: atomic { connection[c].host_reset -> goto claim }
        :: atomic { connection[c].host_end -> assert(connection[c].to == OLD); is[me] = failed; goto over }
        :: atomic {            /* src: _proof.LaunchSide._judge_proof */
            connection[c].greeted && !connection[c].host_reset ->
            connection[c].packet = true;
            if
            :: true
            :: connection[c].asks = true
            fi
           }
        :: atomic { true -> is[me] = failed; connection[c].sender_reset = true; goto over }
        fi;
        if                     /* src: _proof.LaunchSide._judge_reply */
        :: atomic { connection[c].ack && !ASKS(c) -> answered(c); forget(c); goto over }
        :: atomic { connection[c].nak -> is[me] = refused; goto over }
        /* With a reset, the bytes before it may be lost. */
        :: atomic { connection[c].host_reset -> goto claim }
        :: atomic { connection[c].host_end && !connection[c].ack && !connection[c].nak -> assert(false) }
        /* src: _proof.LaunchSide._read_answer */
        :: atomic { connection[c].frame -> answered(c); goto over }
        :: atomic {
            connection[c].ack && ASKS(c) && !connection[c].frame && (connection[c].host_end || connection[c].host_reset) ->
            answered(c);
            is[me] = lost;
            goto over
           }
#else
        atomic {               /* src: _packet.Parcel.open */
            if
            :: connection[c].host_reset -> goto claim
            :: else -> connection[c].packet = true
            fi
        };
        atomic {               /* src: _client._say */
            if
            :: connection[c].host_reset -> goto claim
            :: else -> connection[c].sender_end = true
            fi
        };
        if                     /* src: _packet.Parcel.feed */
        :: atomic { connection[c].ack -> answered(c); forget(c); goto over }
        :: atomic { connection[c].nak -> is[me] = refused; goto over }
        :: atomic { connection[c].host_reset && !connection[c].ack -> goto claim }
        :: atomic {
            connection[c].host_end && !connection[c].ack && !connection[c].nak ->
            assert(connection[c].to == OLD);
            once = true;
            asked[me] = OLD;
            goto claim
           }
#endif
        :: true ->             /* silence */
#ifdef NAMED
            connection[c].sender_reset = true;
#endif
#ifdef ASK_AGAIN_AFTER_SILENCE
            if
            :: c % TRIES == 0 -> c++; goto claim
            :: else
            fi;
#endif
            is[me] = failed; goto over
        fi;

        /* ---- as a host ---- */
turn:   atomic { i = 0 };
        if
        :: atomic { holds[me] -> free_port() }  /* src: _singleton.Socket_Singleton.release, or any other end */
        :: !holds[me] -> goto shut
        :: atomic { holds[me] && UNOWNED(LAST) -> connection[LAST].host_reset = true }
        ALL_OF(0)
        ALL_OF(1)
#if LAST > 2
        ALL_OF(2)
#endif
#if LAST > 3
        ALL_OF(3)
#endif
#if LAST > 4
        ALL_OF(4)
        ALL_OF(5)
#endif
        fi;
        goto turn;
shut:   skip;
        d_step {               /* src: _host.host.Host._give_up */
            for (i : 0 .. LAST) {
                if
#ifndef ORDERLY_END
                :: UNOWNED(i) -> connection[i].host_reset = true
#endif
                :: else ->
                    if
                    :: OPEN(i) -> connection[i].host_end = true
                    :: else
                    fi
                fi
            };
            i = 0
        };
over:   finished[me] = true
    } unless { was_killed[me] };
    finished[me] = true
}

/* ---- what had the port before ---- */

#define me OLD

#ifdef NAMED
/* Whatever it is, it cannot prove that it is this application. */
#define TAKE(c) :: atomic { OPEN(c) && connection[c].hello -> connection[c].host_end = true }
#else
/* 2.0.0 reads what has arrived, delivers it, ends the connection, and sends nothing. */
#define TAKE(c) :: atomic { OPEN(c) && connection[c].packet -> take(c); i = c }; last_of(i)

/* Nothing is left unread, so the end is not a reset, even if it is killed. */
inline take(c) {
    connection[c].queued = true;
    connection[c].orderly = true
}

inline last_of(c) {
    atomic { deliver(c) };
    atomic { connection[c].host_end = true; i = 0 }
}
#endif

proctype Old() {
    byte i;
    {
        do
        :: break
        TAKE(0)
        TAKE(1)
#if LAST > 2
        TAKE(2)
#endif
        od;
        holds[OLD] = false;
        end_of(OLD)
    } unless { was_killed[OLD] };
    finished[OLD] = true
}

#undef me

/* Connects, and never sends a whole packet. */
proctype Stranger() {
end:                           /* finds nobody, which is not a deadlock */
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
            /* With the end of its stream on its way, it is a launch like any other. */
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
#if LAUNCHES == 3
        :: kill(2)
#endif
        :: kill(OLD)
        :: true
        fi
    od
}

/* When all processes have ended. */
proctype Judge() {
    byte who;
    ALL_FINISHED;
    for (who : 0 .. LAUNCHES - 1) {
        assert(is[who] != running);
        assert(is[who] != owned || delivered[who] == 1 || was_killed[asked[who]]);
        assert(is[who] != lost || delivered[who] == 1 || was_killed[asked[who]]);
        assert(is[who] != refused || delivered[who] == 0);
        /* An end without an answer is the reply of 2.0.0 to a launch that it has taken. */
        assert(is[who] != quiet || delivered[who] == 1 || was_killed[OLD]);
        /* A host has nothing to hand over; but 2.0.0 may take a launch, release, and leave the port to it. */
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
#if LAUNCHES == 3
        run Launch(2);
#endif
#if LAUNCHES == 2
        run Stranger();
#endif
        run Killer();
        run Judge()
    }
}
