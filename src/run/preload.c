/* SPDX-License-Identifier: MIT */
/*
 * The start and the end of a managed process.
 *
 * The constructor runs before all other constructors of the process (the library is linked with -z initfirst). Other
 * libraries may allocate, fork or start threads in their constructors, and need the pager then. Memory that was
 * allocated still earlier (by the dynamic linker) came from malloc's unmanaged arena, and stays there.
 *
 * Without ANONMM_MEMORY, or with ANONMM_OFF, all calls pass through to libc, and malloc is a plain jemalloc.
 */
#include "run/run.h"
#include "host/die.h"
#include "run/raw.h"
#include "host/thread.h"
#include "run/faults.h"
#include "base/size.h"
#include "base/elfnote.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Address space that the library needs: the guard's copies, malloc's own tables, code, stacks. */
#define OUR_ADDRESSES (64 * MIB)
#define ADDRESSES_MIN (52 * MIB) /* the managed range under ulimit -v of 160 MiB */

struct run run;

struct settings {
	uint64_t memory, memory_max, address_space;
	bool follows; /* memory is auto */
	const char *swap;
	enum anonmm_faults faults;
	bool copy;
	bool core; /* core dumps shall be complete */
};

/* Devices that are open and not the pager's yet. */
struct swaps {
	struct swapdev *devs[SWAPDEV_CHAIN];
	unsigned nr;
	uint64_t slots;
};

void *run_symbol(const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);
	if (!symbol)
		run_die("libc has no %s(), which the program calls", name);
	return symbol;
}

extern struct real __start_anonmm_real[] __attribute__((visibility("hidden")));
extern struct real __stop_anonmm_real[] __attribute__((visibility("hidden")));

/* A function that this libc does not have stays NULL: run_symbol() reports it when the program calls it. */
static void find_symbols(void)
{
	for (struct real *real = __start_anonmm_real; real < __stop_anonmm_real; real++)
		atomic_store_explicit(&real->symbol, dlsym(RTLD_NEXT, real->name), memory_order_relaxed);
}

static void say(const char *format, va_list args)
{
	char line[1024] = "anonmm: ";
	size_t used = strlen(line);

	int more = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	used = min_u64(used + (more > 0 ? (size_t)more : 0), sizeof(line) - 2);
	line[used++] = '\n';
	long written = syscall(SYS_write, STDERR_FILENO, line, used);
	(void)written; /* nowhere else to say it */
}

void run_say(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	say(format, args);
	va_end(args);
}

void run_die(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	say(format, args);
	va_end(args);
	syscall(SYS_exit_group, 125);
	__builtin_unreachable();
}

/*
 * Failed asserts in this library, and its other calls of abort() (the allocator's). These two functions are hidden:
 * the program and libc call libc's.
 */
void __assert_fail(const char *what, const char *file, unsigned line, const char *function)
	__attribute__((visibility("hidden"), noreturn));

void __assert_fail(const char *what, const char *file, unsigned line, const char *function)
{
	run_say("a bug of anonmm: %s:%u: %s: %s does not hold", file, line, function, what);
	host_die();
}

__attribute__((visibility("hidden"))) void abort(void)
{
	host_die();
}

static bool flag_set(const char *name)
{
	const char *text = getenv(name);
	return text && *text && strcmp(text, "0") != 0;
}

static int faults_parse(const char *text, enum anonmm_faults *faults)
{
	if (!text || !strcmp(text, "auto"))
		*faults = ANONMM_FAULTS_AUTO;
	else if (!strcmp(text, "thread"))
		*faults = ANONMM_FAULTS_THREAD;
	else if (!strcmp(text, "signal"))
		*faults = ANONMM_FAULTS_SIGNAL;
	else
		return -EINVAL;
	return 0;
}

/*
 * Bytes of the managed range. Under a limit on addresses (ulimit -v): two thirds of what the pool and the library
 * leave, so that a third remains for the program's other mappings.
 */
static uint64_t address_space_default(uint64_t memory)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return RUN_MANAGED_BYTES;
	uint64_t taken = min_u64(memory + OUR_ADDRESSES, limit.rlim_cur / 2);

	return min_u64(RUN_MANAGED_BYTES, page_align_down((limit.rlim_cur - taken) / 3 * 2));
}

/* Memory beyond the size of the managed range could never be shown: it would cost tables for nothing. */
static void settings_fit(struct settings *settings)
{
	uint64_t most = max_u64(page_align_up(settings->address_space), ANONMM_MEMORY_MIN);

	settings->memory = min_u64(settings->memory, most);
	settings->memory_max = min_u64(settings->memory_max, most);
}

/* Read the limit, and how high it may be raised. With auto, that is as high as the host could ever allow. */
static int settings_read_memory(struct settings *settings, char *why, size_t why_len)
{
	const char *memory = getenv(ENV_MEMORY), *most = getenv(ENV_MEMORY_MAX);
	char least[32];

	if (most && size_parse(most, &settings->memory_max) < 0) {
		snprintf(why, why_len, "%s=%s is not a size", ENV_MEMORY_MAX, most);
		return -EINVAL;
	}
	settings->follows = !strcmp(memory, "auto");
	if (settings->follows) {
		if (!settings->memory_max)
			settings->memory_max = max_u64(governor_most(), ANONMM_MEMORY_MIN);
		settings->memory = governor_first("", settings->memory_max);
		return 0;
	}
	if (size_parse(memory, &settings->memory) < 0 || settings->memory < ANONMM_MEMORY_MIN) {
		snprintf(why, why_len, "%s=%s is not a size of at least %s", ENV_MEMORY, memory,
			size_text(ANONMM_MEMORY_MIN, least, sizeof(least)));
		return -EINVAL;
	}
	settings->memory_max = max_u64(settings->memory_max, settings->memory);
	return 0;
}

static int settings_read(struct settings *settings, char *why, size_t why_len)
{
	const char *address_space = getenv(ENV_ADDRESS_SPACE);

	*settings = (struct settings){
		.swap = getenv(ENV_SWAP),
		.copy = flag_set(ENV_COPY),
		.core = core_wanted(getenv(ENV_CORE)),
	};
	int error = settings_read_memory(settings, why, why_len);

	if (error)
		return error;
	settings->address_space = address_space_default(settings->memory_max);
	if (settings->address_space < ADDRESSES_MIN) {
		snprintf(why, why_len,
			"the limit on addresses (ulimit -v) is too low: at least 160 MiB are needed");
		return -ENOMEM;
	}
	if (address_space && size_parse(address_space, &settings->address_space) < 0) {
		snprintf(why, why_len, "%s=%s is not a size", ENV_ADDRESS_SPACE, address_space);
		return -EINVAL;
	}
	if (settings->address_space > RUN_MANAGED_MOST) {
		snprintf(why, why_len,
			"%s=%s: more than is possible; give at most 16T, or leave it out for 1T",
			ENV_ADDRESS_SPACE, address_space);
		return -EINVAL;
	}
	if (faults_parse(getenv(ENV_FAULTS), &settings->faults) < 0) {
		snprintf(why, why_len, "%s=%s: must be auto, thread or signal", ENV_FAULTS,
			getenv(ENV_FAULTS));
		return -EINVAL;
	}
	settings_fit(settings);
	return 0;
}

/* The guard's filter knows the range by its address. */
static bool needs_range(enum anonmm_faults faults)
{
	return faults == ANONMM_FAULTS_SIGNAL;
}

/*
 * In thread mode no handler serves the traps of an inherited filter, so the memory must lie outside of the filter's
 * range.
 */
static uint64_t range_base(enum anonmm_faults faults)
{
	return needs_range(faults) || !faults_filtered() ? RUN_MANAGED_BASE : 0;
}

static int machine_open_as(const struct settings *settings, enum anonmm_faults faults, uint32_t nr_frames,
	char *why, size_t why_len)
{
	struct uffd_config config = {
		.base = range_base(faults),
		.bytes = page_align_up(settings->address_space),
		.nr_frames = nr_frames,
		.faults = faults,
		.copy = settings->copy,
	};
	int error = uffd_machine_open(&config, &run.machine, why, why_len);
	if (error == -EPERM || error == -ENOSYS || error == -EINVAL || (error && needs_range(faults)))
		return error; /* another address would not help */
	if (error) {
		config.base = 0;
		error = uffd_machine_open(&config, &run.machine, why, why_len);
	}
	return error;
}

/* The name of ptrace() among the names that it has for the dynamic linker. */
static int look_for_ptrace(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *names = NULL;
	size_t bytes = 0;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type != PT_DYNAMIC)
			continue;
		const ElfW(Dyn) *entry = (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);

		for (; entry->d_tag != DT_NULL; entry++) {
			if (entry->d_tag == DT_STRTAB)
				names = (const char *)entry->d_un.d_ptr; /* the linker has relocated it */
			if (entry->d_tag == DT_STRSZ)
				bytes = entry->d_un.d_val;
		}
	}
	*(bool *)arg = names && memmem(names, bytes, "\0ptrace", sizeof("\0ptrace"));
	return 1;
}

static bool program_traces(void)
{
	bool traces = false;

	dl_iterate_phdr(look_for_ptrace, &traces);
	return traces;
}

/* => as machine_choose() in src/cli/machine.c, which has checked it for the first program */
static int machine_open(const struct settings *settings, uint32_t nr_frames, char *why, size_t why_len)
{
	bool any = settings->faults == ANONMM_FAULTS_AUTO;
	const char *reason;
	char why_next[512];
	enum anonmm_faults faults = any ? faults_first(program_traces(), &reason) : settings->faults;
	int error = machine_open_as(settings, faults, nr_frames, why, why_len);

	if (!error || !any)
		return error;
	faults = faults_next(faults, &reason);
	if (faults && !machine_open_as(settings, faults, nr_frames, why_next, sizeof(why_next)))
		return 0;
	return error;
}

/* Give @swap to the pager and the machine. On failure it is closed. */
static int take_swap(struct swapdev *swap, int priority)
{
	unsigned place = 0;

	while (place < RUN_SWAPS && run.swaps[place])
		place++;
	int error = place < RUN_SWAPS ? pager_add_swap(run.pager, swap, priority) : -ENOSPC;
	if (error) {
		swap->ops->close(swap);
		return error;
	}
	run.swaps[place] = swap;
	uffd_keep_device(run.machine, swap);
	return 0;
}

/*
 * Use no more slots than the managed range has pages, and a quarter more so that runs of free slots can be found.
 * Each slot has an entry in a table, which matters under a limit on addresses.
 */
static void fit_slots(struct swapdev *dev)
{
	uint64_t pages = run.address_space >> PAGE_SHIFT;

	dev->nr_slots = min_u64(dev->nr_slots, pages + pages / 4);
}

static int open_swaps(struct swaps *swaps, char *why, size_t why_len)
{
	int nr;

	if (!run.swap_uri)
		return 0;
	nr = swapdev_open_all(run.swap_uri, run.memory, swaps->devs, SWAPDEV_CHAIN, why, why_len);
	if (nr < 0)
		return nr;
	swaps->nr = (unsigned)nr;
	for (unsigned i = 0; i < swaps->nr; i++) {
		fit_slots(swaps->devs[i]);
		swaps->slots += swaps->devs[i]->nr_slots;
	}
	return 0;
}

/* Give all devices to the pager. The first is used first, and all before those of a lower @generation. */
static int take_swaps(struct swaps *swaps, int generation)
{
	int error = 0;

	for (unsigned i = 0; i < swaps->nr; i++) {
		if (error)
			swaps->devs[i]->ops->close(swaps->devs[i]);
		else
			error = take_swap(swaps->devs[i], (generation + 1) * SWAPDEV_CHAIN - (int)i);
	}
	swaps->nr = 0;
	return error;
}

int run_add_swap(int generation, char *why, size_t why_len)
{
	struct swaps swaps = {.nr = 0};
	int error = open_swaps(&swaps, why, why_len);

	if (error)
		return error;
	error = take_swaps(&swaps, generation);
	if (error)
		snprintf(why, why_len, "no place for one more swap device: %s", strerrordesc_np(-error));
	return error;
}

static int pager_start(struct swaps *swaps, uint32_t nr_frames, uint32_t nr_limit, const char **what)
{
	struct pager_config config = {
		.machine = run.machine,
		.nr_frames = nr_frames,
		.nr_limit = nr_limit,
		.swappiness = -1,
		.policy = PAGER_SHARE_SLOTS,
		.stats = &run.record->stats,
	};
	int error;

	if (getrandom(&config.seed, sizeof(config.seed), 0) != sizeof(config.seed))
		config.seed = (uintptr_t)&config ^ (uint64_t)getpid() << 32;
	*what = "pager";
	error = pager_open(&config, &run.pager);
	if (error)
		return error;
	*what = "swap device";
	error = take_swaps(swaps, 0);
	if (error)
		return error;
	*what = "address space";
	error = space_create(
		run.pager, uffd_machine_base(run.machine), uffd_machine_bytes(run.machine), NULL, &run.space);
	if (error)
		return error;
	*what = "pager's threads";
	return uffd_machine_start(run.machine, run.space);
}

static void record_describe(const struct settings *settings)
{
	run.record->limit_bytes = settings->memory;
	run.record->faults = uffd_machine_faults(run.machine);
	run.record->copies = uffd_machine_copies(run.machine);
}

/*
 * Open everything, in order. On failure @why says what failed. What was opened stays open: the process ends, or runs
 * on without it.
 */
static int run_open(char *why, size_t why_len)
{
	struct settings settings;
	struct swaps swaps = {.nr = 0};
	const char *what = "";
	char size[32];
	int error;

	error = settings_read(&settings, why, why_len);
	if (error)
		return error;
	if (settings.swap && *settings.swap && strcmp(settings.swap, "none"))
		run.swap_uri = own_text(settings.swap);
	run.memory = settings.memory;
	run.address_space = settings.address_space;
	record_begin(getenv(ENV_STATS), getenv(ENV_RUN));
	host_pthread_create = raw_pthread_create; /* our threads are none of the program's */
	error = open_swaps(&swaps, why, why_len);
	if (error)
		return error;
	uint64_t share = settings.memory;
	share_enter(&share, &settings.memory_max);
	settings_fit(&settings);
	uint32_t nr_limit = pager_frames_for(min_u64(share, settings.memory_max), swaps.slots);
	uint64_t core = settings.core ? core_room(settings.memory, swaps.slots * PAGE_BYTES) : 0;
	uint32_t nr_frames =
		pager_frames_for(max_u64(settings.memory_max, settings.memory + core), swaps.slots);
	if (nr_limit < PAGER_MIN_FRAMES) {
		snprintf(why, why_len,
			"%s of memory do not pay for the tables of this much swap (%s): less swap or more "
			"memory",
			size_text(settings.memory, size, sizeof(size)), run.swap_uri ? run.swap_uri : "none");
		return -ENOMEM;
	}
	error = machine_open(&settings, nr_frames, why, why_len);
	if (error)
		return error;
	record_describe(&settings);
	run.follows = settings.follows;
	run.core = settings.core;
	what = "status page";
	error = status_start(settings.memory_max);
	if (!error)
		error = share_attach();
	if (!error)
		error = pager_start(&swaps, nr_frames, nr_limit, &what);
	if (!error) {
		what = "thread that keeps the share of the limit";
		error = share_start();
	}
	if (!error && settings.follows) {
		what = "thread that follows the host's memory";
		error = governor_start(&(struct governor_config){.pager = run.pager,
					       .ops = share_governor_ops(),
					       .root = "",
					       .most = settings.memory_max,
					       .hidden = true},
			&run.governor);
	}
	if (error)
		snprintf(why, why_len, "cannot start the %s: %s", what, strerrordesc_np(-error));
	return error;
}

/* Without the guard a system call on a page that is out would fail. */
static int guard_enter(char *why, size_t why_len)
{
	if (!run.signal_mode)
		return 0;
	int error = guard_start();
	run.guarded = !error;
	if (error)
		snprintf(why, why_len,
			"signal mode cannot guard system calls (seccomp: %s): a container's profile must "
			"allow "
			"seccomp filters; or use thread faults",
			strerrordesc_np(-error));
	return error;
}

static int run_start(char **envp, char *why, size_t why_len)
{
	int error = run_open(why, why_len);
	if (error)
		return error;

	run.base = uffd_machine_base(run.machine);
	run.end = run.base + uffd_machine_bytes(run.machine);
	run.signal_mode = uffd_machine_faults(run.machine) == ANONMM_FAULTS_SIGNAL;
	exec_start(envp);
	error = signals_start();
	if (!error)
		error = real_thread_enter(run.machine);
	run.active = !error; /* malloc's extents need the space from here on */
	if (!error)
		error = malloc_start();
	if (!error)
		status_show();
	if (error)
		snprintf(why, why_len, "cannot start: %s", strerrordesc_np(-error));
	else
		error = guard_enter(why, why_len);
	run.active = !error;
	if (run.active && run.core)
		core_start();
	return error;
}

/* The first object is the program. */
static int look_at_program(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		const char *notes = (const char *)info->dlpi_addr + segment->p_vaddr;
		if (segment->p_type == PT_NOTE && notes_have_go(notes, segment->p_memsz, segment->p_align))
			*(bool *)arg = true;
	}
	return 1;
}

/* The launcher refuses it; started by a managed program it runs unmanaged, as static programs do. */
static bool program_is_go(void)
{
	bool go = false;

	dl_iterate_phdr(look_at_program, &go);
	return go;
}

__attribute__((constructor)) static void run_constructor(int argc, char **argv, char **envp)
{
	char why[512] = "";

	(void)argc;
	(void)argv;
	find_symbols();
	guard_libc_start();
	dlopen_start();
	fork_register();
	if (!environ)
		environ = envp; /* we may be earlier than libc's own constructor */
	if (!getenv(ENV_MEMORY) || flag_set(ENV_OFF) || program_is_go())
		return;
	if (run_start(envp, why, sizeof(why)) == 0)
		return;
	share_leave();
	status_end();
	if (!flag_set(ENV_OPTIONAL))
		run_die("%s", why);
	run_say("%s. Running without a limit", why);
}

static void program_ends(void)
{
	if (!run.active)
		return;
	record_end(RECORD_EXITED);
	share_leave();
	status_end();
}

__attribute__((destructor)) static void run_destructor(void)
{
	program_ends();
}

/* Exits that pass by destructors. */
EXPORT void _exit(int status)
{
	program_ends();
	syscall(SYS_exit_group, status);
	__builtin_unreachable();
}

EXPORT void _Exit(int status)
{
	_exit(status);
}
