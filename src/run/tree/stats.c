/* SPDX-License-Identifier: MIT */
/*
 * This process's record. See record.h.
 *
 * The page of the record stays at one address for the life of the process. A fork's child maps a page of its own over
 * it, so the core goes on counting at the same address.
 */
#include "run/run.h"
#include "host/text.h"
#include "run/raw.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *records_path;
static uint64_t records_id;
static int records_fd = -1; /* inherited */

/* ---- The file ------------------------------------------------------------------------------- */

static bool is_records(int fd)
{
	struct record_header header;

	return fd >= 0 && pread(fd, &header, sizeof(header), 0) == sizeof(header) &&
	       header.magic == RECORD_MAGIC && header.id == records_id;
}

/*
 * Open the file of records by its path. Where the launcher has ended or is not visible: a copy of the inherited
 * descriptor. -1: neither is the right file. The caller closes it.
 */
static int open_records(void)
{
	int fd = records_path ? raw_open(records_path, O_RDWR | O_CLOEXEC) : -1;

	if (fd >= 0 && is_records(fd))
		return fd;
	if (fd >= 0)
		raw_close(fd);
	if (!records_path || !is_records(records_fd))
		return -1;
	return fcntl(records_fd, F_DUPFD_CLOEXEC, 3);
}

void stats_find(const char *path, const char *which)
{
	char *end;

	records_path = path && *path ? own_text(path) : NULL;
	if (!which)
		return;
	records_id = strtoull(which, &end, 16);
	if (*end == ':')
		records_fd = atoi(end + 1);
	if (!is_records(records_fd))
		records_fd = -1;
}

bool stats_owns_fd(int fd)
{
	return fd == records_fd;
}

struct ledger *stats_map_ledger(void)
{
	struct record_header header;
	int fd = open_records();
	void *p = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (pread(fd, &header, sizeof(header), 0) == sizeof(header) && header.shared)
		p = raw_mmap(NULL, LEDGER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, RECORD_LEDGER);
	raw_close(fd);
	return p == MAP_FAILED ? NULL : p;
}

/* ---- Records -------------------------------------------------------------------------------- */

/* A number that nobody else has, or -1: the table is full. */
static int64_t claim_number(int fd)
{
	struct record_header *header =
		raw_mmap(NULL, RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int64_t number = -1;

	if (header == MAP_FAILED)
		return -1;
	if (header->magic == RECORD_MAGIC) {
		number = atomic_fetch_add(&header->claimed, 1);
		if (number >= RECORD_MAX)
			number = -1;
	}
	raw_munmap(header, RECORD_BYTES);
	return number;
}

/* Map a shared record at @at (NULL: anywhere). MAP_FAILED: none to be had. */
static void *map_shared(void *at)
{
	int fd = open_records();
	void *p = MAP_FAILED;

	if (fd < 0)
		return MAP_FAILED;
	int64_t number = claim_number(fd);
	if (number >= 0)
		p = raw_mmap(at, RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | (at ? MAP_FIXED : 0), fd,
			(off_t)((number + 1) * RECORD_BYTES));
	raw_close(fd);
	return p;
}

static void *map_private(void *at)
{
	return raw_mmap(at, RECORD_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
}

static struct record *map_record(void *at)
{
	void *p = map_shared(at);
	if (p == MAP_FAILED)
		p = map_private(at);
	return p == MAP_FAILED ? NULL : p;
}

static void read_name(char *name, size_t len)
{
	host_read_text("/proc/self/comm", name, len);
	name[strcspn(name, "\n")] = '\0';
}

struct record *stats_claim(void)
{
	struct record *record = map_record(NULL);
	if (!record)
		return NULL;
	read_name(record->name, sizeof(record->name));
	atomic_store(&record->pid, getpid());
	return record;
}

/* The child starts with the parent's memory. Its events count from 0. */
static void reset_counters(struct anonmm_stats *stats)
{
	struct anonmm_stats old = *stats;

	*stats = (struct anonmm_stats){
		.frames = old.frames,
		.frames_free = old.frames_free,
		.frames_used = old.frames_used,
		.frames_peak = old.frames_used,
		.slots = old.slots,
		.slots_used = old.slots_used,
		.mapped_bytes = old.mapped_bytes,
		.metadata_bytes = old.metadata_bytes,
	};
}

int stats_fork_child(void)
{
	struct record inherited = *run.record;

	if (!map_record(run.record))
		return -ENOMEM;
	struct record *record = run.record;
	record->limit_bytes = inherited.limit_bytes;
	record->faults = inherited.faults;
	record->copies = inherited.copies;
	memcpy(record->name, inherited.name, sizeof(record->name));
	record->live = inherited.live;
	reset_counters(&record->live);
	atomic_store(&record->pid, getpid());
	return 0;
}

static long final_work(struct call *call)
{
	(void)call;
	struct anonmm_stats stats;

	pager_stats(run.pager, &stats);
	run.record->final = stats;
	run.record->vm_hwm_bytes = host_self_status("VmHWM:", 10, 0) * KIB;
	atomic_store(&run.record->has_final, 1);
	return 0;
}

void stats_final(enum record_end end)
{
	/* A vfork's child runs in our memory, but the record is not its own. */
	if (atomic_load(&run.record->pid) != getpid())
		return;
	atomic_store(&run.record->end, end);
	struct call call = {.work = final_work};
	call_run(&call);
}
