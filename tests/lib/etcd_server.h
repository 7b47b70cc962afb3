/* Real etcd servers for tests: private, on free loopback ports, with data on a memory file system where there is one.
 *
 * A server dies with the thread that started it (so start servers on a thread that lives as long as the test), and what
 * a killed test left on disk is removed by the next one. Whatever goes wrong in here ends the test program with etcd's
 * own log. Environment: EW_ETCD and EW_ETCDCTL name other binaries than those of PATH. EW_ETCD_NODES=3 makes every
 * single server a cluster of three behind one handle: what is done to the handle is done to all of them, and
 * `endpoint` names them all. */
#ifndef TESTS_LIB_ETCD_SERVER_H
#define TESTS_LIB_ETCD_SERVER_H

#include <etcdworker/client.h>

#include <sys/types.h>

typedef struct etcd_server {
    pid_t pid;          /* 0 while it is down */
    char name[64];      /* unique in the world */
    char dir[128];      /* of its data and log */
    char address[32];   /* "127.0.0.1:40001" */
    char endpoint[128]; /* for clients: the same, or the addresses of all nodes behind this handle */
    int client_port, peer_port, health_port;
    bool tls;
    char **argv;              /* to start it again */
    struct etcd_server *next; /* of the nodes behind one handle */
} etcd_server;

/* Starts a single node and waits until it answers. `extra` is a list of further flags ended by NULL, or NULL. With
 * --cert-file among them its clients speak TLS. */
etcd_server *etcd_server_start(const char *const *extra);

/* How many nodes are behind a handle: 1, or what EW_ETCD_NODES says. */
int etcd_server_nodes(void);

/* A flag of this fixture's own: a further URL for clients, ETCD_ALSO_AT "unix://name:1" or "http://[::1]:40001". */
#define ETCD_ALSO_AT "also-at="

/* Another one: the nodes of a cluster listen for clients on 127.0.0.1, 127.0.0.2 and 127.0.0.3. In all flags a '#'
 * stands for the last number of the node's address, so that each can have files of its own. */
#define ETCD_EACH_HOST "each-host"

/* Kills it, if it is up, and removes its data. NULL is fine. */
void etcd_server_free(etcd_server *s);

void etcd_server_kill(etcd_server *s);                    /* SIGKILL; the data stay */
void etcd_server_stop(etcd_server *s);                    /* SIGTERM, and waits for its end; the data stay */
void etcd_server_restart(etcd_server *s);                 /* after one of these: again, on the same ports and data */
void etcd_server_restart_without_waiting(etcd_server *s); /* for a member that needs another one to be ready */
void etcd_server_replace(etcd_server *s);                 /* by a new, empty cluster on the same ports */
void etcd_server_wipe(etcd_server *s);                    /* while it is down: removes its data */
void etcd_server_save(const etcd_server *s, const char *path); /* etcdctl snapshot save, of the first node */
void etcd_server_restore(etcd_server *s, const char *path);    /* while it is down: etcdctl snapshot restore, by the
                                                                  same names and token, so of the same cluster id */
void etcd_server_keep_data(const etcd_server *s, const char *path); /* while it is down: copies its data directory, */
void etcd_server_age(etcd_server *s, const char *path);             /* and later puts the copy in its place */
void etcd_server_pause(etcd_server *s);  /* SIGSTOP: connections stay open, nothing answers */
void etcd_server_resume(etcd_server *s); /* SIGCONT */

/* One of its metrics, of all nodes together: `name` with its labels, as it stands in /metrics; -1 if no node has it.
 */
int64_t etcd_server_metric(const etcd_server *s, const char *name);

/* How many watches its clients have open; -1 while it does not answer. */
int etcd_server_watches(const etcd_server *s);

/* Options and a client for it. Calls give up after ten seconds. */
ew_options *etcd_server_options(const etcd_server *s);
ew_client *etcd_server_client(const etcd_server *s);

/* Runs etcdctl with the arguments, which end in NULL: its exit code. What it prints goes to `out` (which may be NULL),
 * cut at `size`. */
int etcdctl(const etcd_server *s, char *out, size_t size, ...);

/* Runs it once for each of the steps, whose words end in NULL; each must do. */
#define ETCDCTL_WORDS 8
void etcdctl_all(const etcd_server *s, const char *const steps[][ETCDCTL_WORDS], size_t count);

/* Switches authentication on: root with the password rootpw, and app, whose password is secret, and who may do anything
 * below `prefixes`, which end in NULL, and nothing else (the role is apps). */
void etcd_server_add_users(const etcd_server *s, const char *const *prefixes);

/* Three nodes that form a cluster. */
#define ETCD_CLUSTER_NODES 3
typedef struct etcd_cluster {
    etcd_server *nodes[ETCD_CLUSTER_NODES];
    char endpoints[128];
} etcd_cluster;

etcd_cluster *etcd_cluster_start(const char *const *extra);
void etcd_cluster_free(etcd_cluster *c);
int etcd_cluster_leader(const etcd_cluster *c); /* the position of the leader, once there is one */

/* A TCP port that nobody listens on. */
int etcd_free_port(void);

#endif
