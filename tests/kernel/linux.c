/* SPDX-License-Identifier: MIT */
/*
 * The kernel's side of the judge. Each process of a script is a real process. It is told what to do through a socket,
 * and looked at from outside, through its pagemap, /proc/kpageflags and /proc/kpagecount. Nothing here touches the
 * pages themselves.
 */
#define _GNU_SOURCE
#include "host.h"
#include "side.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BASE 0x200000000000ull
#define REGION_APART (4 * REGION_BYTES)
#define SQUEEZE_ROUNDS 24
#define SQUEEZE_AGAIN 10
#define SQUEEZE_IDLE 4 /* rounds without an effect, and it is at its end */
#define SETTLE_MS 3000
#define READ_MS 2000 /* readahead that must come */
#define MAYBE_MS 50 /* that may come: the kernel does not read ahead all that is asked for */

/* Bits of /proc/PID/pagemap and /proc/kpageflags (admin-guide/mm/pagemap). */
#define PM_PRESENT (1ull << 63)
#define PM_SWAP (1ull << 62)
#define PM_FRAME ((1ull << 55) - 1)
#define KPF(bit) (1ull << (bit))
enum {
	KPF_LOCKED = 0,
	KPF_DIRTY = 4,
	KPF_LRU = 5,
	KPF_ACTIVE = 6,
	KPF_WRITEBACK = 8,
	KPF_ANON = 12,
	KPF_SWAPCACHE = 13,
	KPF_SWAPBACKED = 14,
	KPF_UNEVICTABLE = 18,
	KPF_KSM = 21,
	KPF_ZERO_PAGE = 24,
	KPF_MLOCKED = 33
};

static struct process {
	pid_t pid; /* 0: not there */
	int socket; /* our end */
	int pagemap;
} processes[MAX_PROCS];

static int files[MAX_REGIONS]; /* behind regions; 0: none */
static int kpageflags = -1, kpagecount = -1;

static void sleep_us(long us)
{
	nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static uint64_t word_at(int fd, uint64_t index)
{
	uint64_t word = 0;

	if (pread(fd, &word, sizeof(word), (off_t)(index * sizeof(word))) != sizeof(word))
		return 0;
	return word;
}

static uint64_t address(const struct shape *shape, unsigned proc, unsigned region, unsigned page)
{
	return BASE + region * REGION_APART + shape_offset(shape, proc, region, page);
}

/* ---- Talking to the processes ----------------------------------------------------------------------------- */

static struct reply ask(unsigned proc, const struct request *request)
{
	struct reply reply = {.error = -EIO};
	struct process *p = &processes[proc];
	struct pollfd answer = {.fd = p->socket, .events = POLLIN};

	if (write(p->socket, request, sizeof(*request)) != sizeof(*request) || poll(&answer, 1, 30000) != 1 ||
		read(p->socket, &reply, sizeof(reply)) != sizeof(reply))
		fprintf(stderr, "linux: process %u (pid %d) does not answer\n", proc, (int)p->pid);
	return reply;
}

static bool process_watch(unsigned proc, pid_t pid)
{
	char path[40];

	processes[proc].pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	processes[proc].pagemap = open(path, O_RDONLY | O_CLOEXEC);
	return processes[proc].pagemap >= 0;
}

/* Its memory is gone when its pidfd says so. */
static void process_end(unsigned proc)
{
	struct request request = {.task = TASK_EXIT};
	struct process *p = &processes[proc];
	int pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};

	if (write(p->socket, &request, sizeof(request)) != sizeof(request))
		fprintf(stderr, "linux: process %u cannot be told to exit\n", proc);
	if (pidfd >= 0) {
		if (poll(&ended, 1, 10000) != 1)
			kill(p->pid, SIGKILL);
		close(pidfd);
	}
	close(p->pagemap);
	if (proc == 0)
		waitpid(p->pid, NULL, 0);
	p->pid = 0;
}

/* ---- One world -------------------------------------------------------------------------------------------------- */

static void sockets_close(int *sockets)
{
	for (unsigned i = 0; i < MAX_PROCS; i++)
		close(sockets[i]);
}

static bool begin(void)
{
	int ours[MAX_PROCS], theirs[MAX_PROCS];
	pid_t pid;

	for (unsigned i = 0; i < MAX_PROCS; i++) {
		int ends[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
			return false;
		ours[i] = ends[0];
		theirs[i] = ends[1];
		processes[i] = (struct process){.socket = ends[0]};
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		sockets_close(ours);
		host_leave();
		worker_main(0, theirs);
	}
	sockets_close(theirs);
	memset(files, 0, sizeof(files));
	return pid > 0 && host_join(pid) == 0 && process_watch(0, pid);
}

static void end(void)
{
	for (unsigned i = MAX_PROCS; i-- > 0;) { /* children first: their parents are there to take note */
		if (processes[i].pid)
			process_end(i);
		close(processes[i].socket);
	}
	for (unsigned i = 0; i < MAX_REGIONS; i++)
		if (files[i])
			close(files[i]);
}

/* ---- Operations ------------------------------------------------------------------------------ */

/* On disk, and nothing of it in memory. */
static int disk_file(unsigned region, unsigned pages)
{
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)(pages * STRIDE_BYTES)))
		return -1;
	for (unsigned i = 0; i < pages; i++) {
		uint64_t value = file_value(region, i);

		if (pwrite(fd, &value, sizeof(value), (off_t)(i * STRIDE_BYTES)) != sizeof(value))
			return -1;
	}
	if (fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		return -1;
	return fd;
}

static int shmem_file(unsigned pages)
{
	int fd = memfd_create("anonmm-judge", MFD_CLOEXEC);

	return fd < 0 || ftruncate(fd, (off_t)(pages * STRIDE_BYTES)) ? -1 : fd;
}

static int do_map(const struct op *op)
{
	struct request request = {.task = TASK_MAP,
		.addr = BASE + op->region * REGION_APART,
		.len = op->nr * STRIDE_BYTES,
		.arg = (int)op->value};

	if (op->value == REGION_FILE || op->value == REGION_SHMEM) {
		int fd = op->value == REGION_FILE ? disk_file(op->region, op->nr) : shmem_file(op->nr);

		if (fd < 0)
			return -errno;
		files[op->region] = fd;
		snprintf(request.file, sizeof(request.file), "/proc/%d/fd/%d", (int)getpid(), fd);
	}
	return ask(op->proc, &request).error;
}

static struct outcome do_access(const struct op *op, uint64_t addr)
{
	struct request request = {
		.task = TASK_ACCESS, .addr = addr, .arg = op->code == OP_WRITE, .value = op->value};
	struct reply reply = ask(op->proc, &request);

	return (struct outcome){.error = reply.error, .signal = reply.signal, .value = reply.value};
}

static int do_fork(const struct op *op)
{
	struct request request = {.task = TASK_FORK, .value = op->value};
	struct reply reply = ask(op->proc, &request);

	if (reply.error)
		return reply.error;
	return process_watch(op->value, (pid_t)reply.value) ? 0 : -EIO;
}

static bool resident(unsigned proc, uint64_t addr)
{
	struct request request = {.task = TASK_MINCORE, .addr = addr, .len = PAGE_BYTES};

	return ask(proc, &request).value;
}

static int do_page(const struct op *op, uint64_t addr)
{
	struct request request = {.addr = addr, .len = PAGE_BYTES};

	switch (op->code) {
	case OP_LOCK:
		request.task = TASK_LOCK;
		break;
	case OP_UNLOCK:
		request.task = TASK_UNLOCK;
		break;
	case OP_MUNMAP:
		request.task = TASK_MUNMAP;
		break;
	case OP_PROTECT:
		request.task = TASK_PROTECT;
		request.arg = op_rights(op);
		break;
	default:
		request.task = TASK_MADVISE;
		request.arg = op_advice(op->code);
	}
	return ask(op->proc, &request).error;
}

/* What WILLNEED has asked for comes by itself. */
static void await_read(const struct op *op, const struct shape *shape, unsigned page)
{
	uint64_t addr = address(shape, op->proc, op->region, page);
	uint64_t pte = word_at(processes[op->proc].pagemap, addr / PAGE_BYTES);

	if (shape->gone[op->proc][op->region][page] || (pte & PM_PRESENT))
		return;
	if (!(pte & PM_SWAP) && shape->kind[op->region] == REGION_ANON)
		return;
	int ms = shape->kind[op->region] == REGION_ANON ? READ_MS : MAYBE_MS;

	for (int i = 0; i < ms * 5 && !resident(op->proc, addr); i++)
		sleep_us(200);
}

static int do_range(const struct op *op, const struct shape *shape)
{
	int first = 0;

	for (unsigned i = 0; i < op->nr; i++) {
		int error = do_page(op, address(shape, op->proc, op->region, op->first + i));

		first = first ? first : error;
		if (op->code == OP_WILLNEED)
			await_read(op, shape, op->first + i);
	}
	return first;
}

static int do_move(const struct op *op, const struct shape *shape)
{
	uint64_t from = address(shape, op->proc, op->region, op->first);
	bool moved = shape->moved[op->proc][op->region][op->first];
	struct request request = {.task = TASK_MOVE,
		.addr = from,
		.len = PAGE_BYTES,
		.value = moved ? from - REGION_BYTES : from + REGION_BYTES};

	return ask(op->proc, &request).error;
}

static bool is_locked_by_any(const struct world_state *state, unsigned at)
{
	for (unsigned i = at % cell_at(1, 0, 0); i < NR_CELLS; i += cell_at(1, 0, 0))
		if (state->cells[i].kind == CELL_PRESENT && state->cells[i].list == ON_UNEVICTABLE)
			return true;
	return false;
}

static bool can_go(const struct world_state *state, unsigned at)
{
	const struct cell *cell = &state->cells[at];

	if (cell->kind == CELL_PRESENT && cell->type == TYPE_KSM)
		return false; /* those may stay for ever */
	if (cell->kind == CELL_NONE && cell->cached)
		return !is_locked_by_any(state, at);
	return cell->cached || (cell->kind == CELL_PRESENT && cell->list != ON_UNEVICTABLE);
}

/* How many pages are mapped or in a cache that need not be. */
static unsigned pages_in_memory(const struct shape *shape, struct world_state *now)
{
	static const struct world_state nothing;
	unsigned nr = 0;

	linux_side.look(shape, now, &nothing);
	for (unsigned i = 0; i < NR_CELLS; i++)
		nr += can_go(now, i);
	return nr;
}

/*
 * The kernel ages the active list only while it is the longer one, and the other pages of our cgroup may be on the
 * other list. Advice ages pages that are mapped, once. So a page that nobody maps is mapped first, and of shared memory
 * the other mappings go.
 */
static void deactivate(const struct shape *shape, const struct world_state *state, unsigned at)
{
	unsigned proc = at / MAX_PAGES / MAX_REGIONS, region = at / MAX_PAGES % MAX_REGIONS,
		 page = at % MAX_PAGES;
	bool shared = shape->kind[region] == REGION_SHARED && state->cells[at].mapcount > 1;
	struct request touch = {.task = TASK_ACCESS, .addr = address(shape, proc, region, page)};
	struct request advice = {.task = TASK_MADVISE,
		.addr = touch.addr,
		.len = PAGE_BYTES,
		.arg = op_advice(shared ? OP_DONTNEED : OP_COLD)};

	if (!shared)
		ask(proc, &touch);
	ask(proc, &advice);
}

/* Somebody else's cell of the same file page comes first. */
static bool is_another_view(const struct world_state *state, unsigned at)
{
	if (state->cells[at].kind != CELL_NONE)
		return false;
	for (unsigned i = at % cell_at(1, 0, 0); i < at; i += cell_at(1, 0, 0))
		if (state->cells[i].kind == CELL_NONE && state->cells[i].cached)
			return true;
	return false;
}

/* Pages that were used go round once more before they go. */
static int do_squeeze(const struct shape *shape)
{
	unsigned before = UINT32_MAX, idle = 0, now = 0;
	struct world_state state;

	for (int i = 0; i < SQUEEZE_ROUNDS && idle < SQUEEZE_IDLE; i++) {
		for (unsigned at = 0; i > 1 && at < NR_CELLS; at++)
			if (can_go(&state, at) && !is_another_view(&state, at))
				deactivate(shape, &state, at);
		if (i > 1)
			host_drain();
		/* Without the processes in between, whose own pages would be what is found. */
		for (int n = 0; n < (i > 1 ? SQUEEZE_AGAIN : 1); n++)
			host_squeeze();
		sleep_us(500);
		now = pages_in_memory(shape, &state);
		if (now == 0)
			break;
		idle = now == before ? idle + 1 : 0;
		before = now;
	}
	return now ? -EBUSY : 0;
}

static int do_truncate(const struct op *op)
{
	return ftruncate(files[op->region], (off_t)(op->nr * STRIDE_BYTES)) ? -errno : 0;
}

static struct outcome run(const struct op *op, const struct shape *shape)
{
	switch (op->code) {
	case OP_MAP:
		return (struct outcome){.error = do_map(op)};
	case OP_READ:
	case OP_WRITE:
		return do_access(op, address(shape, op->proc, op->region, op->first));
	case OP_FORK:
		return (struct outcome){.error = do_fork(op)};
	case OP_EXIT:
		process_end(op->proc);
		return (struct outcome){0};
	case OP_MOVE:
		return (struct outcome){.error = do_move(op, shape)};
	case OP_TRUNCATE:
		return (struct outcome){.error = do_truncate(op)};
	case OP_SQUEEZE:
		return (struct outcome){.error = do_squeeze(shape)};
	case OP_MERGE:
		return (struct outcome){.error = host_merge()};
	default:
		return (struct outcome){.error = do_range(op, shape)};
	}
}

/* ---- The state ------------------------------------------------------------------------------- */

static enum cell_type type_of(uint64_t flags)
{
	if (flags & KPF(KPF_KSM))
		return TYPE_KSM;
	if (flags & KPF(KPF_ANON))
		return flags & KPF(KPF_SWAPBACKED) ? TYPE_ANON : TYPE_FREE;
	return flags & KPF(KPF_SWAPBACKED) ? TYPE_SHMEM : TYPE_FILE;
}

static enum cell_list list_of(uint64_t flags)
{
	if (flags & KPF(KPF_UNEVICTABLE))
		return ON_UNEVICTABLE;
	if (!(flags & KPF(KPF_LRU)))
		return ON_NONE;
	return flags & KPF(KPF_ACTIVE) ? ON_ACTIVE : ON_INACTIVE;
}

static void cell_present(struct cell *cell, uint64_t frame)
{
	uint64_t flags = word_at(kpageflags, frame);

	cell->kind = flags & KPF(KPF_ZERO_PAGE) ? CELL_ZERO : CELL_PRESENT;
	cell->frame = frame;
	cell->mapcount = (unsigned)word_at(kpagecount, frame);
	cell->type = type_of(flags);
	cell->list = list_of(flags);
	cell->swapcache = flags & KPF(KPF_SWAPCACHE);
	cell->dirty = flags & KPF(KPF_DIRTY);
	cell->mlocked = flags & KPF(KPF_MLOCKED);
}

static void look_at(
	const struct shape *shape, unsigned proc, unsigned region, unsigned page, struct cell *cell)
{
	uint64_t addr = address(shape, proc, region, page);
	uint64_t pte = word_at(processes[proc].pagemap, addr / PAGE_BYTES);

	if (pte & PM_PRESENT) {
		cell_present(cell, pte & PM_FRAME);
		return;
	}
	cell->kind = pte & PM_SWAP ? CELL_SWAP : CELL_NONE;
	cell->slot = pte & PM_FRAME;
	cell->cached = resident(proc, addr);
}

/* Writes end by themselves. */
static void settle(const struct world_state *before)
{
	uint64_t busy = KPF(KPF_WRITEBACK) | KPF(KPF_LOCKED);

	for (unsigned i = 0; i < NR_CELLS; i++) {
		uint64_t frame = before->cells[i].frame;

		if (before->cells[i].kind == CELL_ABSENT || frame == NO_FRAME)
			continue;
		for (int ms = 0; ms < SETTLE_MS * 5 && (word_at(kpageflags, frame) & busy); ms++)
			sleep_us(200);
	}
}

static void look(const struct shape *shape, struct world_state *now, const struct world_state *before)
{
	settle(before);
	host_drain();
	memset(now, 0, sizeof(*now));
	for (unsigned p = 0; p < MAX_PROCS; p++)
		for (unsigned r = 0; r < MAX_REGIONS; r++)
			for (unsigned i = 0; shape->alive[p] && shape->mapped[p][r] && i < shape->pages[r];
				i++)
				if (!shape->gone[p][r][i])
					look_at(shape, p, r, i, &now->cells[cell_at(p, r, i)]);
	state_relate(now, before);
}

static const char *check(void)
{
	return NULL;
}

const struct side linux_side = {"Linux", begin, end, run, look, check};

/* ---- Once ------------------------------------------------------------------------------------ */

/* One CPU for all: pages wait in fewer batches, and the order of things is that of the script. */
static void bind_to_one_cpu(void)
{
	cpu_set_t set;
	int cpu = sched_getcpu();

	CPU_ZERO(&set);
	CPU_SET(cpu < 0 ? 0 : cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

const char *linux_open(void)
{
	const char *why = host_open();

	if (why)
		return why;
	kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	kpagecount = open("/proc/kpagecount", O_RDONLY | O_CLOEXEC);
	bind_to_one_cpu();
	return kpageflags < 0 || kpagecount < 0 ? "/proc/kpageflags cannot be read" : NULL;
}

void linux_close(void)
{
	host_close();
}

const char *linux_ksm_missing(void)
{
	return host_ksm_missing();
}
