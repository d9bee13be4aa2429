/* SPDX-License-Identifier: MIT */
/*
 * The same histories on the soft machine. What happens to the page is recorded as events. Where Linux was asked for its
 * state, our state is noted, too.
 */
#ifndef ANONMM_TEST_REPLAY_H
#define ANONMM_TEST_REPLAY_H

#include "trace/walk_world.h"

/* Notes among the events. */
#define NOTE_SEEN "(seen)" /* where Linux printed ST or TRK */
#define NOTE_BEFORE "(before)" /* before an access, or before a write's end: what Linux calls entry */
#define NOTE_READING "(reading)" /* a fault waits for the device */
#define NOTE_FORGET "(forget)" /* the pages so far have nothing to do with those that follow */

/*
 * Replay the history of the section whose name begins with @name into an open @world. 0, -errno, or -ENOENT:
 * none.
 */
int replay(struct walk_world *world, const char *section);

#endif
