/*
 * lost_job: an event in a scheduler's callback which says that a worker with a websocket may hold a
 * job no longer: {"watch": LOST_JOB_WATCH, "type": LOST_JOB_EVENT, "data": {"worker", "job"}}. It
 * is among the events of watches, since replicas of earlier versions refuse a callback with an
 * unknown key, but ignore the event of an unknown watch.
 */
#ifndef COMMON_DOMAIN_LOST_JOB_H
#define COMMON_DOMAIN_LOST_JOB_H

#define LOST_JOB_EVENT "lost_job"

enum { LOST_JOB_WATCH = 0 }; /* watches are numbered from 1 */

#endif
