/* SPDX-License-Identifier: MIT */
/*
 * The ledger, as a process of the run finds it, and the record of its program. See ledger.h.
 *
 * The ledger stays mapped for the life of the program. A fork's child has the same mapping: it takes another record,
 * and its core goes on counting there. Without a ledger, or when all records are taken, the record is private.
 */
#include "run/run.h"
#include "host/text.h"
#include "run/raw.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t ledger_id;
static int ledger_fd = -1; /* inherited */
static struct record private_record;

/* ---- The ledger ----------------------------------------------------------------------------- */

static bool is_ledger(int fd)
{
	uint64_t head[2]; /* magic and id */

	return fd >= 0 && pread(fd, head, sizeof(head), 0) == sizeof(head) && head[0] == LEDGER_MAGIC &&
	       head[1] == ledger_id;
}

static struct ledger *map_ledger(int fd)
{
	void *p = is_ledger(fd) ? raw_mmap(NULL, LEDGER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
				: MAP_FAILED;

	return p == MAP_FAILED ? NULL : p;
}

/* The path leads to nothing, or to another file, where the launcher has ended or is not visible. */
static struct ledger *find_ledger(const char *path)
{
	int fd = raw_open(path, O_RDWR | O_CLOEXEC);
	struct ledger *ledger = map_ledger(fd);

	if (fd >= 0)
		raw_close(fd);
	return ledger ? ledger : map_ledger(ledger_fd);
}

bool ledger_owns_fd(int fd)
{
	return fd == ledger_fd;
}

/* ---- The record ----------------------------------------------------------------------------- */

static struct record *take_record(void)
{
	uint32_t number = run.ledger ? atomic_fetch_add(&run.ledger->programs, 1) : LEDGER_RECORDS;

	return number < LEDGER_RECORDS ? &run.ledger->records[number] : &private_record;
}

void record_begin(const char *path, const char *which)
{
	char *end;

	if (path && which) {
		ledger_id = strtoull(which, &end, 16);
		ledger_fd = *end == ':' ? atoi(end + 1) : -1;
		if (!is_ledger(ledger_fd))
			ledger_fd = -1;
		run.ledger = find_ledger(path);
	}
	run.record = take_record();
	host_read_text("/proc/self/comm", run.record->name, sizeof(run.record->name));
	run.record->name[strcspn(run.record->name, "\n")] = '\0';
	atomic_store(&run.record->pid, getpid());
}

/* The child starts with the parent's memory. Its events count from 0. */
static struct anonmm_stats stats_of_child(const struct anonmm_stats *old)
{
	return (struct anonmm_stats){
		.frames = old->frames,
		.frames_free = old->frames_free,
		.frames_used = old->frames_used,
		.frames_peak = old->frames_used,
		.slots = old->slots,
		.slots_used = old->slots_used,
		.mapped_bytes = old->mapped_bytes,
		.metadata_bytes = old->metadata_bytes,
	};
}

void record_fork_child(void)
{
	struct record child = *run.record;

	atomic_store(&child.pid, 0);
	child.stats = stats_of_child(&child.stats);
	run.record = take_record();
	*run.record = child;
	atomic_store(&run.record->pid, getpid());
	pager_count_in(run.pager, &run.record->stats);
}

static long final_work(struct call *call)
{
	(void)call;
	pager_stats(run.pager, NULL);
	run.record->vm_hwm_bytes = host_self_status("VmHWM:", 10, 0) * KIB;
	return 0;
}

bool record_is_ours(void)
{
	return atomic_load(&run.record->pid) == getpid();
}

void record_end(enum record_end end)
{
	struct call call = {.work = final_work};

	if (!record_is_ours())
		return;
	call_run(&call);
	atomic_store(&run.record->end, end);
}
