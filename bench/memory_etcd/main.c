/* etcdworker-bench-actors: the roles of the benchmark that run over the etcd in memory. A program of its own, since
 * that has the names of the client layer. Started by etcdworker-bench only. */
#include "role.h"

int main(int argc, char **argv) {
    static const role roles[] = {{"actors", role_chain, true}, {0}};
    if (argc < 3)
        role_fail("this program is a part of etcdworker-bench, and is of no use by itself");
    return role_main(roles, argc - 2, argv + 2);
}
