/* The guard: the process between this one and the private etcd; see dev_etcd.h. */
#ifndef SERVICE_DEV_GUARD_H
#define SERVICE_DEV_GUARD_H

#define DEV_GUARD_FLAG "--internal-dev-guard"

/* The main function of `etcdworkerd --internal-dev-guard <parent's pid> <directory to remove, or ""> <etcd>
 * <argument>...` */
int dev_guard_main(int argc, char **argv);

/* Removes a directory and its contents. Does not follow symbolic links. */
void dev_guard_remove(const char *directory);

#endif
