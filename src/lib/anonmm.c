/* SPDX-License-Identifier: MIT */
/*
 * The public library: open and close. Each step of open succeeds, or says in words why not. close undoes the steps in
 * reverse order, and also closes what open has opened before it failed.
 */
#define _GNU_SOURCE
#include "lib/api.h"
#include "lib/governor.h"
#include "host/host.h"
#include "base/size.h"
#include "contract/swapdev.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#ifndef ANONMM_VERSION
#define ANONMM_VERSION "0.1.0"
#endif

#define UFFD_SPACE_DEFAULT (1024 * GIB)
#define SOFT_SPACE_DEFAULT (64 * GIB)
#define SPACE_MAX (16 * 1024 * GIB) /* what space_create() takes */
#define SPACE_MIN (1 * MIB)

/* Swap devices that are open and that the pager does not have yet. */
struct swaps {
	struct swapdev *devs[SWAPDEV_CHAIN];
	unsigned nr;
	uint64_t slots;
};

static _Thread_local char last_error[512];

const char *anonmm_error(void)
{
	return last_error;
}

const char *anonmm_version(void)
{
	return ANONMM_VERSION;
}

__attribute__((format(printf, 2, 3))) static int fail(int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(last_error, sizeof(last_error), format, args);
	va_end(args);
	return error;
}

/* ---- Open, step by step ---------------------------------------------------------------- */

/* The size of the structure in the first release. Callers that leave .size 0 mean that size. */
#define CONFIG_SIZE_0_1 (offsetof(struct anonmm_config, seed) + sizeof(uint64_t))
#define CONFIG_SIZE_MIN (offsetof(struct anonmm_config, memory) + sizeof(uint64_t))

/* Copy the caller's configuration, which may be shorter or longer. Missing fields are 0. clone3() does the same. */
static int copy_config(const struct anonmm_config *from, struct anonmm_config *to)
{
	size_t size = from->size ? from->size : CONFIG_SIZE_0_1;

	if (size < CONFIG_SIZE_MIN)
		return fail(-EINVAL,
			"a configuration of %zu bytes was given: set .size to sizeof(struct anonmm_config)",
			size);
	for (size_t i = sizeof(*to); i < size; i++)
		if (((const char *)from)[i])
			return fail(-E2BIG,
				"the configuration has something at byte %zu, and anonmm %s knows %zu: it "
				"was made for "
				"a later release",
				i, ANONMM_VERSION, sizeof(*to));
	memset(to, 0, sizeof(*to));
	memcpy(to, from, min_u64(size, sizeof(*to)));
	return 0;
}

static int check_config(const struct anonmm_config *config)
{
	char asked[32], least[32];

	if (config->machine != ANONMM_UFFD && config->machine != ANONMM_SOFT)
		return fail(-EINVAL, "machine %d was asked for: there are ANONMM_UFFD and ANONMM_SOFT",
			(int)config->machine);
	if (config->memory < ANONMM_MEMORY_MIN)
		return fail(-EINVAL, "a memory limit of %s was asked for: the least that works is %s",
			size_text(config->memory, asked, sizeof(asked)),
			size_text(ANONMM_MEMORY_MIN, least, sizeof(least)));
	if (config->memory_max && config->memory != ANONMM_MEMORY_AUTO && config->memory_max < config->memory)
		return fail(-EINVAL, "a limit of %s was asked for, and room for only %s",
			size_text(config->memory, asked, sizeof(asked)),
			size_text(config->memory_max, least, sizeof(least)));
	if (config->memory == ANONMM_MEMORY_AUTO && config->machine == ANONMM_SOFT && !config->threads)
		return fail(-EINVAL,
			"a limit that follows the host was asked for: a soft machine needs threads for it");
	if (config->address_space && (config->address_space < SPACE_MIN || config->address_space > SPACE_MAX))
		return fail(-EINVAL, "an address space of %s was asked for: it can be 1 MiB to 16 TiB",
			size_text(config->address_space, asked, sizeof(asked)));
	if ((unsigned)config->faults > ANONMM_FAULTS_SIGNAL)
		return fail(-EINVAL, "fault mode %d was asked for: there are AUTO, THREAD and SIGNAL",
			(int)config->faults);
	if (config->nodes > ANONMM_NODES_MAX)
		return fail(-EINVAL, "%u memory nodes were asked for: there can be 1 to %u", config->nodes,
			ANONMM_NODES_MAX);
	if (config->swappiness < 0 || config->swappiness > 200)
		return fail(-EINVAL,
			"a swappiness of %d was asked for: it can be 1 to 200, or 0 for the default",
			config->swappiness);
	return 0;
}

/* The sizes that follow from the configuration. */
struct sizes {
	uint64_t memory, memory_max;
	uint32_t nr_limit, nr_frames;
};

static void find_sizes(const struct anonmm_config *config, struct sizes *sizes)
{
	*sizes = (struct sizes){.memory = config->memory, .memory_max = config->memory_max};
	if (config->memory != ANONMM_MEMORY_AUTO) {
		sizes->memory_max = max_u64(sizes->memory_max, sizes->memory);
		return;
	}
	if (!sizes->memory_max)
		sizes->memory_max = max_u64(governor_most(), ANONMM_MEMORY_MIN);
	sizes->memory = governor_first("", sizes->memory_max);
}

static int open_swap(const struct anonmm_config *config, uint64_t memory, struct swaps *swaps)
{
	char why[400] = "";
	int nr;

	if (!config->swap)
		return 0;
	nr = swapdev_open_all(config->swap, memory, swaps->devs, SWAPDEV_CHAIN, why, sizeof(why));
	if (nr < 0)
		return fail(nr, "%s", why);
	swaps->nr = (unsigned)nr;
	for (unsigned i = 0; i < swaps->nr; i++)
		swaps->slots += swaps->devs[i]->nr_slots;
	return 0;
}

static int count_frames(const struct anonmm_config *config, const struct swaps *swaps, struct sizes *sizes)
{
	char limit[32], swap[32];

	sizes->nr_limit = pager_frames_for(sizes->memory, swaps->slots);
	sizes->nr_frames = pager_frames_for(sizes->memory_max, swaps->slots);
	if (sizes->nr_limit < PAGER_MIN_FRAMES * (config->nodes ? config->nodes : 1))
		return fail(-EINVAL,
			"a limit of %s does not pay for the bookkeeping of %s of swap and %d frames: "
			"raise the limit or take less swap",
			size_text(sizes->memory, limit, sizeof(limit)),
			size_text(swaps->slots * PAGE_BYTES, swap, sizeof(swap)), PAGER_MIN_FRAMES);
	return 0;
}

static int open_machine(struct anonmm *mm, const struct anonmm_config *config, uint32_t nr_frames)
{
	char why[400] = "";
	int error;

	if (mm->kind == ANONMM_SOFT) {
		struct soft_config soft = {.nr_frames = nr_frames, .threads = config->threads};

		error = soft_machine_open(&soft, &mm->machine, why, sizeof(why));
	} else {
		struct uffd_config uffd = {
			.bytes = page_align_up(
				config->address_space ? config->address_space : UFFD_SPACE_DEFAULT),
			.nr_frames = nr_frames,
			.faults = config->faults,
			.copy = config->copy,
		};

		error = uffd_machine_open(&uffd, &mm->machine, why, sizeof(why));
	}
	return error ? fail(error, "%s", why) : 0;
}

static int open_pager(struct anonmm *mm, const struct anonmm_config *config, const struct sizes *sizes)
{
	struct pager_config pager = {
		.machine = mm->machine,
		.nr_frames = sizes->nr_frames,
		.nr_limit = sizes->nr_limit,
		.nr_nodes = config->nodes,
		.swappiness = config->swappiness ? config->swappiness : -1,
		.seed = config->seed,
		.policy = PAGER_SHARE_SLOTS,
	};
	int error;

	if (!pager.seed && getrandom(&pager.seed, sizeof(pager.seed), 0) != sizeof(pager.seed))
		return fail(-errno, "the host's randomness, which keys the checksums, cannot be read: %s",
			strerror(errno));
	error = pager_open(&pager, &mm->pager);
	if (error)
		return fail(error, "the pager cannot be opened with %u frames: %s", sizes->nr_frames,
			strerror(-error));
	return 0;
}

/* Give the devices to the pager. The first is used first. Those that it did not take stay in @swaps. */
static int add_swap(struct anonmm *mm, struct swaps *swaps)
{
	for (int priority = 0; swaps->nr > 0; priority--) {
		struct swapdev *dev = swaps->devs[0];
		int error = pager_add_swap(mm->pager, dev, priority);

		if (error)
			return fail(error, "swap: %s cannot be used: %s", dev->uri, strerror(-error));
		memmove(swaps->devs, swaps->devs + 1, --swaps->nr * sizeof(struct swapdev *));
	}
	return 0;
}

static void close_swap(struct swaps *swaps)
{
	while (swaps->nr > 0) {
		struct swapdev *dev = swaps->devs[--swaps->nr];

		dev->ops->close(dev);
	}
}

/* Start the machine: on uffd its one space and its threads, on soft its thread. Soft spaces are created later. */
static int start_machine(struct anonmm *mm, const struct anonmm_config *config)
{
	int error;

	if (mm->kind == ANONMM_SOFT) {
		mm->address_space =
			page_align_up(config->address_space ? config->address_space : SOFT_SPACE_DEFAULT);
		error = config->threads ? soft_machine_start(mm->machine) : 0;
	} else {
		error = space_create(mm->pager, uffd_machine_base(mm->machine),
			uffd_machine_bytes(mm->machine), NULL, &mm->space);
		if (error)
			return fail(error, "the address space cannot be set up: %s", strerror(-error));
		error = uffd_machine_start(mm->machine, mm->space);
		if (!error)
			error = real_install_sigbus(mm->machine);
	}
	return error ? fail(error, "the threads of the machine cannot be started: %s", strerror(-error)) : 0;
}

static int start_governor(struct anonmm *mm, const struct sizes *sizes)
{
	struct governor_config config = {.pager = mm->pager, .root = "", .most = sizes->memory_max};
	int error = governor_start(&config, &mm->governor);

	return error ? fail(error, "the thread that follows the host's memory cannot be started: %s",
			       strerror(-error))
		     : 0;
}

int anonmm_open(const struct anonmm_config *given, struct anonmm **out)
{
	struct anonmm_config copy, *config = &copy;
	struct anonmm *mm = NULL;
	struct swaps swaps = {.nr = 0};
	struct sizes sizes = {0};
	int error;

	*out = NULL;
	last_error[0] = '\0';
	error = copy_config(given, config);
	if (!error)
		error = check_config(config);
	if (!error) {
		find_sizes(config, &sizes);
		error = open_swap(config, sizes.memory, &swaps);
	}
	if (!error)
		error = count_frames(config, &swaps, &sizes);
	if (!error && !(mm = calloc(1, sizeof(*mm))))
		error = fail(-ENOMEM, "the host has no memory for the pager");
	if (!error) {
		mm->kind = config->machine;
		mm->memory_max = sizes.memory_max;
		LIST_INIT(&mm->spaces);
		pthread_mutex_init(&mm->spaces_lock, NULL);
		error = open_machine(mm, config, sizes.nr_frames);
	}
	if (!error)
		error = open_pager(mm, config, &sizes);
	if (!error)
		error = add_swap(mm, &swaps);
	if (!error)
		error = start_machine(mm, config);
	if (!error && config->memory == ANONMM_MEMORY_AUTO)
		error = start_governor(mm, &sizes);
	if (error) {
		close_swap(&swaps);
		anonmm_close(mm);
		return error;
	}
	*out = mm;
	return 0;
}

/* ---- Close ----------------------------------------------------------------------------- */

/* Close the pager. Reads ahead and writes may still be in flight: poll until they have ended. */
static void close_pager(struct anonmm *mm)
{
	while (pager_close(mm->pager) == -EBUSY) {
		pager_poll(mm->pager, SWAP_READ, 1);
		pager_poll(mm->pager, SWAP_WRITE, 1);
	}
	mm->pager = NULL;
}

static void close_spaces(struct anonmm *mm)
{
	while (!LIST_EMPTY(&mm->spaces))
		anonmm_space_destroy(LIST_FIRST(&mm->spaces));
	if (mm->space)
		space_destroy(mm, mm->space);
	mm->space = NULL;
}

void anonmm_close(struct anonmm *mm)
{
	if (!mm)
		return;
	if (mm->governor)
		governor_stop(mm->governor);
	close_spaces(mm);
	if (mm->machine)
		(mm->kind == ANONMM_SOFT ? soft_machine_stop : uffd_machine_stop)(mm->machine);
	if (mm->pager)
		close_pager(mm);
	if (mm->machine && mm->kind == ANONMM_SOFT)
		soft_machine_close(mm->machine);
	else if (mm->machine)
		uffd_machine_close(mm->machine);
	pthread_mutex_destroy(&mm->spaces_lock);
	free(mm);
}

static int check_limit(const struct anonmm *mm, uint64_t bytes)
{
	char asked[32], bound[32];

	if (bytes < ANONMM_MEMORY_MIN)
		return fail(-EINVAL, "a memory limit of %s was asked for: the least that works is %s",
			size_text(bytes, asked, sizeof(asked)),
			size_text(ANONMM_MEMORY_MIN, bound, sizeof(bound)));
	if (bytes > mm->memory_max)
		return fail(-ERANGE,
			"a memory limit of %s was asked for: there was room made for %s (memory_max)",
			size_text(bytes, asked, sizeof(asked)),
			size_text(mm->memory_max, bound, sizeof(bound)));
	return 0;
}

int anonmm_set_limit(struct anonmm *mm, uint64_t bytes)
{
	char asked[32], why[200];
	struct api_call call;
	int error;

	last_error[0] = '\0';
	error = check_limit(mm, bytes);
	if (error)
		return error;
	if (mm->governor) {
		governor_set_most(mm->governor, bytes);
		return 0;
	}
	call_begin(&call, mm, NULL); /* a signal handler that faults would wait for the pager lock */
	call.result = pager_set_limit(mm->pager, bytes, why, sizeof(why));
	error = call_end(&call);
	return error ? fail(error, "a memory limit of %s cannot hold: %s",
			       size_text(bytes, asked, sizeof(asked)), why)
		     : 0;
}

void anonmm_get_stats(struct anonmm *mm, struct anonmm_stats *stats, size_t size)
{
	struct anonmm_stats now;
	struct api_call call;

	call_begin(&call, mm, NULL); /* as in anonmm_set_limit() */
	pager_stats(mm->pager, &now);
	call_end(&call);
	memset(stats, 0, size);
	memcpy(stats, &now, min_u64(size, sizeof(now)));
}

/* ---- Calls on a space ------------------------------------------------------------------ */

void call_begin(struct api_call *call, struct anonmm *mm, struct space *space)
{
	*call = (struct api_call){.mm = mm, .space = space};
	if (mm->kind == ANONMM_UFFD)
		call->mask = host_block_signals();
	while (space && call_again(call, space_lock(space, &call->wait)))
		;
}

bool call_again(struct api_call *call, int result)
{
	call->result = result;
	if (result != -EAGAIN)
		return false;
	call->mm->machine->ops->wait(call->mm->machine, &call->wait);
	return true;
}

int call_end(struct api_call *call)
{
	if (call->space)
		space_unlock(call->space);
	if (call->mm->kind == ANONMM_UFFD)
		host_restore_signals(call->mask);
	return call->result;
}

/* Like a call, but without call_end(): the lock ends with the space. */
void space_destroy(struct anonmm *mm, struct space *space)
{
	struct api_call call;

	call_begin(&call, mm, space);
	while (call_again(&call, space_exit(space, &call.wait)))
		;
	if (mm->kind == ANONMM_UFFD)
		host_restore_signals(call.mask);
}

/* ---- KSM ------------------------------------------------------------------------------- */

/* Signals are blocked for the same reason as in a call on a space: ksmd_step() takes the pager lock. */
int anonmm_ksm_scan(struct anonmm *mm, unsigned pages)
{
	uint64_t old;
	int merged;

	if (mm->kind == ANONMM_SOFT) {
		merged = ksmd_step(mm->pager, pages);
		soft_machine_tick(mm->machine);
		return merged;
	}
	old = host_block_signals();
	merged = ksmd_step(mm->pager, pages);
	host_restore_signals(old);
	return merged;
}
