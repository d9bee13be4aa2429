/* SPDX-License-Identifier: MIT */
/* See replay.h. One function a section, in its order. */
#include "replay.h"
#include "trace/held_dev.h"

#include <string.h>
#include <sys/mman.h>

#define TRY(call)                                                                                            \
	do {                                                                                                 \
		int error_ = (call);                                                                         \
		if (error_)                                                                                  \
			return error_;                                                                       \
	} while (0)

static void seen(struct walk_world *w, enum walk_eye eye)
{
	walk_world_note(w, NOTE_SEEN, eye);
}

static int read_by(struct walk_world *w, enum walk_eye eye)
{
	walk_world_note(w, NOTE_BEFORE, eye);
	return walk_read_by(w, eye);
}

static int write_by(struct walk_world *w, enum walk_eye eye)
{
	walk_world_note(w, NOTE_BEFORE, eye);
	return walk_write_by(w, eye);
}

/*
 * An access to a page on the device: what is to be seen while the read is under way, and before it is mapped.
 */
static int swap_in(struct walk_world *w, enum walk_eye eye, enum access access)
{
	struct wait wait = {0};

	if (handle_mm_fault(w->eyes[eye].space, w->eyes[eye].addr, access, &wait) != FAULT_WAIT)
		return -EINVAL;
	walk_world_note(w, NOTE_READING, eye);
	pager_poll(w->pager, SWAP_READ, 0);
	walk_world_note(w, NOTE_BEFORE, eye);
	handle_mm_fault(w->eyes[eye].space, w->eyes[eye].addr, access, &wait);
	return access == ACCESS_WRITE ? write_by(w, eye) : read_by(w, eye);
}

static int press_until(struct walk_world *w, const char *function)
{
	w->next_event = w->nr_events;
	return walk_press_until(w, function);
}

static void end_writes(struct walk_world *w)
{
	walk_world_note(w, NOTE_BEFORE, w->file ? WALK_CACHE : WALK_PROGRAM);
	walk_finish_writes(w);
}

/* Pressed out, written, gone. @slow: a scan comes before the write has ended. */
static int squeeze(struct walk_world *w, bool slow)
{
	TRY(press_until(w, "pageout"));
	if (slow) {
		w->next_event = w->nr_events;
		TRY(walk_scan_again(w));
	}
	end_writes(w);
	TRY(press_until(w, "free_page"));
	seen(w, WALK_PROGRAM);
	return 0;
}

/* Pages: births in runs do not come that far. */
#define FAR 128

/* From now on another page of the program is watched; the histories before it are over. */
static void another_page(struct walk_world *w)
{
	w->nr_others -= FAR;
	w->eyes[WALK_PROGRAM].addr = w->others + PAGE_BYTES * w->nr_others;
	memset(w->watched, 0, sizeof(w->watched));
	walk_world_note(w, NOTE_FORGET, WALK_PROGRAM);
}

static int born(struct walk_world *w)
{
	TRY(walk_write(w));
	seen(w, WALK_PROGRAM);
	return 0;
}

/* ---- 1 anon ---------------------------------------------------------------------------------- */

static int read_in_ahead(struct walk_world *w)
{
	TRY(walk_advise(w, MADV_WILLNEED));
	pager_poll(w->pager, SWAP_READ, 0);
	return 0;
}

static int anon_in_and_out(struct walk_world *w)
{
	seen(w, WALK_PROGRAM); /* 1.5 */
	TRY(squeeze(w, false));
	TRY(read_in_ahead(w));
	TRY(read_by(w, WALK_PROGRAM));
	seen(w, WALK_PROGRAM); /* 1.6 */
	seen(w, WALK_PROGRAM);
	TRY(write_by(w, WALK_PROGRAM));
	seen(w, WALK_PROGRAM); /* 1.7 */
	seen(w, WALK_PROGRAM); /* 1.8 */
	TRY(squeeze(w, false));
	TRY(swap_in(w, WALK_PROGRAM, ACCESS_WRITE));
	seen(w, WALK_PROGRAM); /* 1.9 */
	seen(w, WALK_PROGRAM);
	return 0;
}

static int replay_anon(struct walk_world *w)
{
	seen(w, WALK_PROGRAM); /* 1.1 */
	TRY(read_by(w, WALK_PROGRAM));
	seen(w, WALK_PROGRAM); /* 1.2 */
	TRY(write_by(w, WALK_PROGRAM));
	seen(w, WALK_PROGRAM); /* 1.3 */
	seen(w, WALK_PROGRAM);
	TRY(anon_in_and_out(w));
	TRY(walk_unmap(w));
	seen(w, WALK_PROGRAM); /* 1.10 */
	another_page(w);
	TRY(born(w)); /* 1.11 */
	seen(w, WALK_PROGRAM);
	return 0;
}

/* ---- 2 fork ---------------------------------------------------------------------------------- */

static int fork_and_write(struct walk_world *w)
{
	TRY(born(w)); /* 2.1 */
	TRY(walk_fork(w));
	seen(w, WALK_PROGRAM); /* 2.2 */
	seen(w, WALK_CHILD);
	TRY(write_by(w, WALK_CHILD));
	seen(w, WALK_CHILD); /* 2.3 */
	seen(w, WALK_PROGRAM);
	TRY(write_by(w, WALK_PROGRAM));
	seen(w, WALK_PROGRAM); /* 2.4 */
	return walk_child_exits(w);
}

static int replay_fork(struct walk_world *w)
{
	TRY(fork_and_write(w));
	another_page(w);
	TRY(walk_write(w));
	TRY(walk_fork(w));
	seen(w, WALK_PROGRAM); /* 2.5 */
	TRY(squeeze(w, false));
	seen(w, WALK_CHILD); /* 2.6 */
	TRY(swap_in(w, WALK_CHILD, ACCESS_READ));
	seen(w, WALK_CHILD); /* 2.7 */
	TRY(read_by(w, WALK_PROGRAM));
	seen(w, WALK_PROGRAM); /* 2.8 */
	TRY(write_by(w, WALK_CHILD));
	seen(w, WALK_CHILD); /* 2.9 */
	seen(w, WALK_PROGRAM);
	TRY(write_by(w, WALK_PROGRAM));
	seen(w, WALK_PROGRAM); /* 2.10 */
	return 0;
}

static int replay_fork_swapped(struct walk_world *w)
{
	TRY(born(w)); /* 2b.1 */
	TRY(squeeze(w, false));
	TRY(walk_fork(w));
	TRY(swap_in(w, WALK_CHILD, ACCESS_WRITE));
	seen(w, WALK_CHILD); /* 2b.2 */
	TRY(write_by(w, WALK_PROGRAM));
	seen(w, WALK_PROGRAM); /* 2b.3 */
	return 0;
}

/* ---- 3 zero ---------------------------------------------------------------------------------- */

static int replay_zero(struct walk_world *w)
{
	TRY(read_by(w, WALK_PROGRAM));
	seen(w, WALK_PROGRAM); /* 3.1 */
	TRY(walk_press(w, 1)); /* a mapping in which nothing was ever written is not copied by fork */
	TRY(walk_fork(w));
	TRY(write_by(w, WALK_CHILD));
	seen(w, WALK_CHILD); /* 3.2 */
	TRY(walk_child_exits(w));
	seen(w, WALK_PROGRAM); /* 3.3 */
	return 0;
}

/* ---- 4 ksm ----------------------------------------------------------------------------------- */

/* Linux's a is born first; b's page is the one that is kept. */
#define A WALK_SECOND
#define B WALK_PROGRAM

static int replay_ksm(struct walk_world *w)
{
	TRY(walk_make_twin(w));
	seen(w, A); /* 4.1 */
	seen(w, B);
	TRY(walk_merge(w));
	seen(w, A); /* 4.2 */
	seen(w, B);
	seen(w, A); /* 4.3 */
	TRY(squeeze(w, false));
	seen(w, B);
	TRY(swap_in(w, A, ACCESS_READ));
	seen(w, A); /* 4.4 */
	TRY(read_by(w, B));
	seen(w, B); /* 4.5 */
	TRY(write_by(w, A));
	seen(w, A); /* 4.6 */
	seen(w, B);
	TRY(write_by(w, B));
	seen(w, B); /* 4.7 */
	return 0;
}

/* ---- 5 private file --------------------------------------------------------------------------- */

/* A file in memory with one page that was written, mapped privately. */
static int file_with_a_page(struct walk_world *w)
{
	TRY(walk_map_shmem(w, true));
	TRY(walk_write(w));
	TRY(walk_unmap(w));
	return walk_map_shmem(w, false);
}

static int read_and_copy(struct walk_world *w)
{
	TRY(read_by(w, WALK_PROGRAM));
	seen(w, WALK_PROGRAM); /* 5.1, 5.4 */
	TRY(write_by(w, WALK_PROGRAM));
	seen(w, WALK_PROGRAM); /* 5.2, 5.5 */
	return 0;
}

static int replay_file(struct walk_world *w)
{
	struct wait wait = {0};

	TRY(file_with_a_page(w));
	TRY(read_and_copy(w));
	TRY(walk_unmap(w));
	w->eyes[WALK_PROGRAM].addr += PAGE_BYTES;
	TRY(walk_write(w));
	seen(w, WALK_PROGRAM); /* 5.3 */
	TRY(walk_truncate(w));
	seen(w, WALK_PROGRAM); /* 5.3b */
	TRY(WALK_RETRY(w, wait, file_close(w->file, &wait)));
	w->file = NULL;
	walk_world_note(w, NOTE_FORGET, WALK_PROGRAM);
	TRY(file_with_a_page(w));
	return read_and_copy(w);
}

/* ---- 6 shmem ----------------------------------------------------------------------------------- */

static int replay_shmem(struct walk_world *w)
{
	TRY(walk_map_shmem(w, true));
	TRY(walk_read(w));
	seen(w, WALK_PROGRAM); /* 6.1 */
	TRY(walk_write(w));
	seen(w, WALK_PROGRAM); /* 6.2 */
	seen(w, WALK_PROGRAM); /* 6.3 */
	TRY(squeeze(w, true));
	TRY(swap_in(w, WALK_PROGRAM, ACCESS_READ));
	seen(w, WALK_PROGRAM); /* 6.4 */
	TRY(walk_write(w));
	seen(w, WALK_PROGRAM); /* 6.5 */
	return 0;
}

/* ---- 7 mlock ----------------------------------------------------------------------------------- */

static int replay_mlock(struct walk_world *w)
{
	TRY(born(w)); /* 7.1 */
	TRY(walk_mlock(w, true));
	TRY(walk_mlock(w, false));
	seen(w, WALK_PROGRAM); /* 7.3 */
	return 0;
}

/* ---- 8 migration ---------------------------------------------------------------------------------- */

static int replay_migration(struct walk_world *w)
{
	TRY(born(w)); /* 8.1 */
	TRY(walk_migrate_begin(w));
	TRY(walk_migrate_end(w));
	seen(w, WALK_PROGRAM); /* 8.2 */
	return 0;
}

/* ---- 8b, 8c: errors ------------------------------------------------------------------------------ */

static int replay_write_error(struct walk_world *w)
{
	TRY(born(w)); /* 8b.1 */
	TRY(press_until(w, "pageout"));
	w->next_event = w->nr_events;
	TRY(walk_scan_again(w));
	walk_device_fails(w, SWAP_WRITE, true);
	end_writes(w);
	walk_device_fails(w, SWAP_WRITE, false);
	seen(w, WALK_PROGRAM); /* 8b.2 */
	TRY(read_by(w, WALK_PROGRAM));
	seen(w, WALK_PROGRAM); /* 8b.3 */
	return 0;
}

static int replay_read_error(struct walk_world *w)
{
	TRY(born(w)); /* 8c.1 */
	TRY(squeeze(w, false));
	walk_device_fails(w, SWAP_READ, true);
	if (swap_in(w, WALK_PROGRAM, ACCESS_READ) != -EIO)
		return -EINVAL;
	seen(w, WALK_PROGRAM); /* 8c.2 */
	if (walk_read(w) != -EIO)
		return -EINVAL;
	seen(w, WALK_PROGRAM); /* 8c.3 */
	return 0;
}

/* ---- 9 swapoff -------------------------------------------------------------------------------------- */

static int replay_swapoff(struct walk_world *w)
{
	TRY(born(w)); /* 9.1 */
	TRY(squeeze(w, false));
	TRY(walk_drop_others(w));
	TRY(walk_swapoff(w));
	seen(w, WALK_PROGRAM); /* 9.2 */
	return 0;
}

/* ---- 10 hwpoison ----------------------------------------------------------------------------------- */

static int replay_hwpoison(struct walk_world *w)
{
	return born(w); /* 10.1; the rest has no counterpart */
}

/* ---- 11 OOM: the kernel printed no state ----------------------------------------------------- */

static int replay_nothing(struct walk_world *w)
{
	(void)w;
	return 0;
}

static const struct {
	const char *section;
	int (*replay)(struct walk_world *w);
} replays[] = {
	{"1 ", replay_anon},
	{"2 ", replay_fork},
	{"2b ", replay_fork_swapped},
	{"3 ", replay_zero},
	{"4 ", replay_ksm},
	{"5 ", replay_file},
	{"6 ", replay_shmem},
	{"7 ", replay_mlock},
	{"8 ", replay_migration},
	{"8b ", replay_write_error},
	{"8c ", replay_read_error},
	{"9 ", replay_swapoff},
	{"10 ", replay_hwpoison},
	{"11 ", replay_nothing},
};

int replay(struct walk_world *world, const char *section)
{
	for (size_t i = 0; i < ARRAY_SIZE(replays); i++)
		if (!strncmp(section, replays[i].section, strlen(replays[i].section)))
			return replays[i].replay(world);
	return -ENOENT;
}
