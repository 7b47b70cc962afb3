/* etcdworker: keeps a program's logic in step with an etcd v3 key prefix. This header includes all others except sim.h,
 * which is for tests. */
#ifndef ETCDWORKER_H
#define ETCDWORKER_H

#include <etcdworker/actor.h>
#include <etcdworker/client.h>
#include <etcdworker/election.h>
#include <etcdworker/error.h>
#include <etcdworker/group.h>
#include <etcdworker/log.h>
#include <etcdworker/nng.h>
#include <etcdworker/options.h>
#include <etcdworker/process.h>
#include <etcdworker/reactor.h>
#include <etcdworker/session.h>
#include <etcdworker/types.h>
#include <etcdworker/version.h>
#include <etcdworker/worker.h>

#endif
