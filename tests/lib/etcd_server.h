/* Real etcd servers for tests: private, on free loopback ports, with data on a memory file system if there is one.
 *
 * A server is killed when the thread that started it ends, so start servers on a thread that lives as long as the test.
 * The next test removes what a killed test left on disk. Every error in these functions ends the test program and
 * prints etcd's log. Environment variables: EW_ETCD and EW_ETCDCTL name other binaries than those in PATH.
 * EW_ETCD_NODES=3 makes every single server a cluster of three nodes with one handle: each operation on the handle
 * applies to all nodes, and `endpoint` lists them all. */
#ifndef TESTS_LIB_ETCD_SERVER_H
#define TESTS_LIB_ETCD_SERVER_H

#include <etcdworker/client.h>

#include <sys/types.h>

typedef struct etcd_server {
    pid_t pid;          /* 0 while it is stopped */
    char name[64];      /* unique on the machine */
    char dir[128];      /* for data and log */
    char address[32];   /* "127.0.0.1:40001" */
    char endpoint[128]; /* for clients: the same, or the addresses of all nodes of this handle */
    int client_port, peer_port, health_port;
    bool tls;
    char **argv;              /* to start it again */
    struct etcd_server *next; /* the next node of this handle */
} etcd_server;

/* Starts a single node and waits until it answers. `extra` lists further flags and ends with NULL; it may be NULL. With
 * --cert-file among them, clients use TLS. */
etcd_server *etcd_server_start(const char *const *extra);

/* Returns the number of nodes of a handle: 1, or EW_ETCD_NODES. */
int etcd_server_nodes(void);

/* A flag of this fixture, not of etcd: a further URL for clients, ETCD_ALSO_AT "unix://name:1" or "http://[::1]:40001".
 */
#define ETCD_ALSO_AT "also-at="

/* A flag of this fixture: the nodes of a cluster listen for clients on 127.0.0.1, 127.0.0.2 and 127.0.0.3. In all flags
 * '#' is replaced by the last number of the node's address, so that each node can have its own files. */
#define ETCD_EACH_HOST "each-host"

/* Kills the server if it is running, and removes its data. Accepts NULL. */
void etcd_server_free(etcd_server *s);

void etcd_server_kill(etcd_server *s); /* SIGKILL; keeps the data */
void etcd_server_stop(etcd_server *s); /* SIGTERM, and waits for its exit; keeps the data */

/* Starts the server again after kill or stop, with the same ports and data. The second function does not wait until it
 * answers: a member may need another member first. */
void etcd_server_restart(etcd_server *s);
void etcd_server_restart_without_waiting(etcd_server *s);

/* Replaces the server by a new, empty cluster on the same ports. */
void etcd_server_replace(etcd_server *s);

/* Removes the data. The server must be stopped. */
void etcd_server_wipe(etcd_server *s);

/* Runs etcdctl snapshot save on the first node. */
void etcd_server_save(const etcd_server *s, const char *path);

/* Runs etcdctl snapshot restore with the same names and token, so with the same cluster id. The server must be stopped.
 */
void etcd_server_restore(etcd_server *s, const char *path);

/* Copies the data directory to `path`, and replaces it by that copy later. The server must be stopped. */
void etcd_server_keep_data(const etcd_server *s, const char *path);
void etcd_server_age(etcd_server *s, const char *path);

void etcd_server_pause(etcd_server *s);  /* SIGSTOP: connections stay open, nothing answers */
void etcd_server_resume(etcd_server *s); /* SIGCONT */

/* Returns the sum of one metric over all nodes; -1 if no node has it. `name` includes the labels, as in /metrics. */
int64_t etcd_server_metric(const etcd_server *s, const char *name);

/* Returns the number of watches that clients have open; -1 if the server does not answer. */
int etcd_server_watches(const etcd_server *s);

/* Returns options, and a client, for this server. Calls time out after ten seconds. */
ew_options *etcd_server_options(const etcd_server *s);
ew_client *etcd_server_client(const etcd_server *s);

/* Runs etcdctl with the arguments, a list that ends with NULL. Returns its exit code. Copies its output to `out`, at
 * most `size` bytes; `out` may be NULL. */
int etcdctl(const etcd_server *s, char *out, size_t size, ...);

/* Runs etcdctl once for each step. The words of a step end with NULL. Each run must succeed. */
#define ETCDCTL_WORDS 8
void etcdctl_all(const etcd_server *s, const char *const steps[][ETCDCTL_WORDS], size_t count);

/* Enables authentication with two users: root with the password rootpw, and app with the password secret. app may read
 * and write below `prefixes`, a list that ends with NULL, and nothing else; its role is apps. */
void etcd_server_add_users(const etcd_server *s, const char *const *prefixes);

/* Three nodes that form a cluster. */
#define ETCD_CLUSTER_NODES 3
typedef struct etcd_cluster {
    etcd_server *nodes[ETCD_CLUSTER_NODES];
    char endpoints[128];
} etcd_cluster;

etcd_cluster *etcd_cluster_start(const char *const *extra);
void etcd_cluster_free(etcd_cluster *c);
int etcd_cluster_leader(const etcd_cluster *c); /* waits for a leader and returns its index */

/* Returns a TCP port on which no process listens. */
int etcd_free_port(void);

#endif
