/* Model of the barrier and the receipt of one worker. etcd may apply a transaction late, lose its answer, or both. An
 * external writer may make a key's compare true again by deleting the key.
 *
 * Checked: a group that was reported as committed was applied exactly once; a group that was given up was never applied
 * and never will be; a tick sees the worker's own last commit; and every run ends (no deadlock).
 *
 *     spin -a commit.pml && gcc -O2 -o pan pan.c && ./pan -m1000000
 *
 * Without one part of the protocol the check must fail: -DNO_FENCE (no receipt bump), -DNO_GATE, -DNO_BARRIER,
 * -DBLIND_RETRY, -DNO_RECEIPT_COMPARE; and, with -DBEHIND_A_FENCE (a group after a receipt bump), -DSAME_SEQUENCE.
 *
 * With -DLOSSES the receipt's lease is lost once, at any moment. If no outcome is unknown, the receipt is claimed
 * again. If the outcome of a transaction is unknown, the run ends, unless the key proves that the transaction was not
 * applied. This fails with -DCLAIM_ALWAYS, which always assumes that it was not applied. */

#ifdef LOSSES           /* a transaction, a claim, and the same again, with one repetition */
#define GROUPS 2
#define ATTEMPTS 6
#define EXTERNAL 1
#elif !defined(BEHIND_A_FENCE)
#define GROUPS 2     /* that the reactor makes, one after the other */
#define ATTEMPTS 6   /* transactions that may be sent; a limit keeps the state space finite */
#define EXTERNAL 2   /* changes by the external writer */
#else                /* a transaction, its repetition, its receipt bump; then the next one, its repetition, its receipt bump */
#define GROUPS 1
#define ATTEMPTS 7
#define EXTERNAL 1
#endif

#ifndef SAME_SEQUENCE
#define RAISE sequence = sequence + 2
#else
#define RAISE skip
#endif

mtype = { COMMIT, FENCE, CLAIM };
mtype = { OK, REFUSED, LOST };

/* ---- etcd ---- */
byte revision = 1;
byte key_mod = 0;       /* mod_revision of the one key all groups write; 0: absent */
#ifdef LOSSES
byte receipt = 1;       /* its sequence, put before the first transaction; 0: absent */
byte receipt_mod = 1;
#else
byte receipt = 0;       /* its sequence; 0: absent */
byte receipt_mod = 0;
#endif
byte applied[GROUPS];   /* how often each group was applied */

/* A transaction in flight: attempt, kind, group, receipt that it compares, receipt that it puts, key_mod that it
 * compares. etcd applies them in any order, at any time, also long after the worker has stopped waiting. */
chan net = [ATTEMPTS] of { byte, mtype, byte, byte, byte, byte };
/* An answer of etcd: attempt, verdict, the receipt that the else branch read (or that was put), its revision, the key's
 * mod_revision. */
chan answers = [ATTEMPTS] of { byte, mtype, byte, byte, byte };

/* ---- the worker ---- */
byte observed = 1;      /* by the watch */
byte barrier = 0;
byte own_commit = 0;    /* the revision of the worker's last commit, which only etcd knows; for the assertion */
bool given_up[GROUPS];

inline apply() {
    if
    :: (receipt == expect_receipt || no_compare) && (kind != COMMIT || key_mod == expect_key) ->
        revision++;
        receipt = put_receipt;
        receipt_mod = revision;
        if
        :: kind == COMMIT ->
            key_mod = revision;
            own_commit = revision;
            applied[group]++;
            assert(applied[group] == 1);      /* never twice */
            assert(!given_up[group]);         /* never after it was given up */
        :: else
        fi;
        verdict = OK
    :: else -> verdict = REFUSED
    fi
}

active proctype etcd() {
    byte attempt, group, expect_receipt, put_receipt, expect_key;
    mtype kind, verdict;
    bool no_compare = false;
#ifdef NO_RECEIPT_COMPARE
    no_compare = true;
#endif
end:
    do
    :: atomic {
        net?attempt, kind, group, expect_receipt, put_receipt, expect_key ->
        apply();
        if
        :: answers!attempt, verdict, receipt, (verdict == OK -> revision : receipt_mod), key_mod
        :: skip                                /* the answer is lost */
        fi
       }
    :: atomic {                                /* reorders: the oldest goes to the end */
        len(net) > 1 ->
        net?attempt, kind, group, expect_receipt, put_receipt, expect_key;
        net!attempt, kind, group, expect_receipt, put_receipt, expect_key
       }
    od
}

active proctype external() {
    byte changes = 0;
    do
    :: changes < EXTERNAL ->
        atomic {
            changes++;
            revision++;
            if
            :: key_mod != 0 -> key_mod = 0     /* delete: a compare with "absent" is true again */
            :: key_mod = revision              /* put */
            fi
        }
    :: break
    od
}

#ifdef LOSSES
/* The lease is lost, and the receipt with it. */
active proctype clock() {
    if
    :: atomic { receipt != 0 -> receipt = 0; receipt_mod = 0; revision++ }
    :: skip
    fi
}
#endif

active proctype watch() {
end:
    do
    :: observed < revision -> observed++
    od
}

/* Sends one attempt and waits for its answer, or stops waiting. Ignores answers to earlier attempts. */
inline attempt_txn(what) {
    attempt++;
    net!attempt, what, group, (what == CLAIM -> 0 : sequence), (what == COMMIT -> sequence + 1 : sequence + 2), expect_key;
    if
    :: answers??eval(attempt), verdict, seen_receipt, seen_revision, seen_key
    :: verdict = LOST
    fi
}

active proctype worker() {
    byte group = 0, attempt = 0, sequence = receipt, expect_key, seen_receipt, seen_revision, seen_key;
    mtype verdict;

next_tick:
    if
    :: group == GROUPS || attempt + 4 > ATTEMPTS -> goto finished
    :: else
    fi;
#ifndef NO_GATE
    observed >= barrier;
#endif
    assert(observed >= own_commit);            /* a tick sees the worker's own last commit */

evaluate:
    expect_key = key_mod;                      /* the newest cache; being newer than `observed` only helps */
    if
    :: attempt + 4 > ATTEMPTS -> goto finished
    :: else
    fi;
    attempt_txn(COMMIT);

decide:
    if
    :: verdict == OK -> goto committed
    :: verdict == REFUSED && seen_receipt == sequence -> goto refused   /* the only attempt was answered: a plain conflict */
#ifdef BLIND_RETRY
    :: verdict == REFUSED && seen_receipt != sequence -> sequence = seen_receipt; goto evaluate  /* ignores who wrote the receipt */
#else
    :: verdict == REFUSED && seen_receipt != sequence && seen_receipt != 0 -> assert(false)    /* only this worker writes its receipt */
    :: verdict == REFUSED && seen_receipt != sequence && seen_receipt == 0 -> goto claim       /* answered, so not applied */
#endif
    :: verdict == LOST -> goto resolve
    fi;

resolve:
    if
    :: attempt + 3 > ATTEMPTS -> goto finished /* out of attempts: the run ends and reports an unknown outcome */
    :: else
    fi;
#ifdef BLIND_RETRY
    goto evaluate;
#endif
    attempt_txn(COMMIT);                       /* the same transaction again */
    if
    :: verdict == OK -> goto committed
    :: verdict == REFUSED && seen_receipt == sequence + 1 -> goto committed   /* the first copy was applied */
    :: verdict == REFUSED && seen_receipt == sequence -> goto fence           /* not applied so far */
    :: verdict == REFUSED && seen_receipt == 0 && sequence != 0 ->            /* the receipt is lost */
#ifdef CLAIM_ALWAYS
        goto claim
#else
        if
        :: expect_key != 0 && seen_key == expect_key -> goto claim            /* if applied, it would have changed the key */
        :: else -> goto finished                                              /* reports an unknown outcome */
        fi
#endif
    :: verdict == LOST -> goto resolve
    fi;

claim:
    if
    :: attempt + 1 > ATTEMPTS -> goto finished
    :: else
    fi;
    attempt_txn(CLAIM);
    if
    :: verdict == OK -> RAISE; goto refused
    :: verdict == REFUSED && seen_receipt == sequence + 2 -> RAISE; goto refused  /* an earlier claim was applied */
    :: verdict == LOST -> goto claim
    fi;

fence:
#ifdef NO_FENCE
    goto refused;
#endif
    if
    :: attempt + 1 > ATTEMPTS -> goto finished
    :: else
    fi;
    attempt_txn(FENCE);
    if
    :: verdict == OK -> RAISE; goto refused
    :: verdict == REFUSED && seen_receipt == sequence + 2 -> RAISE; goto refused  /* an earlier receipt bump was applied */
    :: verdict == REFUSED && seen_receipt == sequence + 1 -> goto committed
    :: verdict == REFUSED && seen_receipt == 0 && sequence != 0 -> goto resolve   /* sent again, with the keys */
    :: verdict == LOST -> goto fence
    fi;

refused:
    if
    :: goto evaluate                           /* on newer state */
    :: given_up[group] = true;                 /* evaluated again, the group changes nothing */
       assert(applied[group] == 0);
       group++;
       goto next_tick
    fi;

committed:
    assert(applied[group] == 1);
    d_step {
        sequence = sequence + 1;
#ifndef NO_BARRIER
        barrier = seen_revision;               /* from the answer: the commit's revision, or the mod_revision of the receipt */
#endif
    }
    group++;
    goto next_tick;

finished:
    skip
}
