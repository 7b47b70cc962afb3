/* etcdworker-bench-actors: the roles of the benchmark that use the etcd in memory. A separate program, because the etcd
 * in memory defines the names of the client layer. Only etcdworker-bench starts it. */
#include "role.h"

int main(int argc, char **argv) {
    static const role roles[] = {{"actors", role_chain, true}, {0}};
    if (argc < 3)
        role_fail("this program is a part of etcdworker-bench; run etcdworker-bench instead");
    return role_main(roles, argc - 2, argv + 2);
}
