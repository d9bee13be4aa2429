/* SPDX-License-Identifier: MIT */
/*
 * system() and popen() in signal mode.
 *
 * libc's functions pass `environ` itself to a child that runs in this process's memory, without handlers and with all
 * signals blocked. What the child or the kernel reads must not be managed then (exec.c). Setting `environ` to another
 * environment for that time will not do: all threads would see it. So the functions here spawn the shell, with a copy
 * of the environment that nobody else sees. In thread mode, and where nothing is managed, libc's own functions run.
 *
 * A stream of popen() is an ordinary stream. A table says which child belongs to it. One atomic word claims an entry
 * of the table and gives it back, so a fork's child always finds a table that it can use.
 */
#include "run/run.h"
#include "host/host.h"
#include "host/lock.h"

#include <fcntl.h>
#include <paths.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK_STREAMS 64

/* Locks: [a] atomic  [o] the thread that has claimed the entry, then the thread that uses the stream */
struct stream {
	_Atomic(FILE *) file; /* [a] NULL: the entry is free; CLAIMED: the entry is being filled */
	_Atomic(int) fd; /* [a] the parent's end of the pipe; -1: none */
	pid_t pid; /* [o] */
};

struct chunk {
	struct stream stream[CHUNK_STREAMS];
	_Atomic(struct chunk *) next; /* [a] set once; a chunk never goes */
};

static struct chunk first_chunk;
static _Atomic(unsigned) nr_streams;

#define CLAIMED ((FILE *)&first_chunk)

static bool is_libcs(void)
{
	return !run.active || !run.signal_mode;
}

/* => libc's own run, on a stack that the child may read */
struct libc_call {
	const char *command, *mode; /* mode NULL: system() */
	FILE *file;
	int status, error;
};

static void libc_work(void *p)
{
	struct libc_call *call = p;

	if (run.active)
		real_unpair_self(run.machine);
	if (call->mode)
		call->file = REAL(popen)(call->command, call->mode);
	else
		call->status = REAL(system)(call->command);
	call->error = errno;
}

/* ---- system() ------------------------------------------------------------------------------ */

/*
 * SIGINT and SIGQUIT are ignored while any thread is in system(). The first thread in and the last one out set the
 * actions.
 */
static struct {
	struct lock lock;
	unsigned nr;
	struct sigaction interrupt, quit; /* the program's */
} ignoring;

static void ignore_begin(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	lock_take(&ignoring.lock);
	if (ignoring.nr++ == 0) {
		sigaction(SIGINT, &ignore, &ignoring.interrupt);
		sigaction(SIGQUIT, &ignore, &ignoring.quit);
	}
	lock_drop(&ignoring.lock);
}

static void ignore_end(void)
{
	lock_take(&ignoring.lock);
	if (--ignoring.nr == 0) {
		sigaction(SIGINT, &ignoring.interrupt, NULL);
		sigaction(SIGQUIT, &ignoring.quit, NULL);
	}
	lock_drop(&ignoring.lock);
}

void shell_fork_child(void)
{
	lock_init(&ignoring.lock);
}

struct system_call {
	sigset_t mask; /* the program's */
	pid_t pid;
	int status;
};

static int wait_for(pid_t pid, int *status)
{
	pid_t got;

	do {
		got = waitpid(pid, status, 0);
	} while (got < 0 && errno == EINTR);
	return got == pid ? 0 : -1;
}

static void system_leave(const struct system_call *call)
{
	ignore_end();
	pthread_sigmask(SIG_SETMASK, &call->mask, NULL);
}

/* The thread is cancelled while it waits. */
static void system_cancelled(void *p)
{
	struct system_call *call = p;
	int status;

	kill(call->pid, SIGKILL);
	wait_for(call->pid, &status);
	system_leave(call);
}

static int system_spawn(struct system_call *call, const char *command)
{
	posix_spawnattr_t attr;
	sigset_t defaults;

	sigemptyset(&defaults);
	if (ignoring.interrupt.sa_handler != SIG_IGN)
		sigaddset(&defaults, SIGINT);
	if (ignoring.quit.sa_handler != SIG_IGN)
		sigaddset(&defaults, SIGQUIT);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &call->mask);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	int error = exec_spawn_shell(command, NULL, &attr, &call->pid);
	posix_spawnattr_destroy(&attr);
	return error;
}

static int system_here(const char *command)
{
	struct system_call call = {.status = -1};
	sigset_t child;
	int saved_errno;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	ignore_begin();
	pthread_sigmask(SIG_BLOCK, &child, &call.mask);
	if (system_spawn(&call, command)) {
		call.status = W_EXITCODE(127, 0); /* as if the shell could not be run */
	} else {
		pthread_cleanup_push(system_cancelled, &call);
		if (wait_for(call.pid, &call.status))
			call.status = -1;
		pthread_cleanup_pop(0);
	}
	saved_errno = errno;
	system_leave(&call);
	errno = saved_errno;
	return call.status;
}

EXPORT int system(const char *command)
{
	struct libc_call call = {.command = command, .status = -1};

	if (!is_libcs())
		return command ? system_here(command) : system_here("exit 0") == 0;
	call_off_managed_stack(libc_work, &call);
	errno = call.error;
	return call.status;
}

/* ---- The table of streams ------------------------------------------------------------------- */

static struct stream *claim_in(struct chunk *chunk)
{
	for (unsigned i = 0; i < CHUNK_STREAMS; i++) {
		FILE *none = NULL;

		if (!atomic_compare_exchange_strong(&chunk->stream[i].file, &none, CLAIMED))
			continue;
		atomic_store(&chunk->stream[i].fd, -1);
		return &chunk->stream[i];
	}
	return NULL;
}

/* The chunk after @chunk, made if it is not there. NULL: no memory */
static struct chunk *chunk_after(struct chunk *chunk)
{
	struct chunk *next = atomic_load(&chunk->next), *none = NULL;

	if (next)
		return next;
	next = own_alloc(sizeof(*next));
	if (!next)
		return NULL;
	memset(next, 0, sizeof(*next));
	if (atomic_compare_exchange_strong(&chunk->next, &none, next))
		return next;
	own_free(next);
	return none;
}

static struct stream *stream_claim(void)
{
	struct stream *stream = NULL;

	for (struct chunk *chunk = &first_chunk; chunk && !stream;
		chunk = stream ? chunk : chunk_after(chunk))
		stream = claim_in(chunk);
	if (stream)
		atomic_fetch_add(&nr_streams, 1);
	return stream;
}

static void stream_free(struct stream *stream)
{
	atomic_store(&stream->fd, -1);
	atomic_store(&stream->file, NULL);
	atomic_fetch_sub(&nr_streams, 1);
}

/* The entry of @file, which is its owner's from now on. NULL: it has none */
static struct stream *stream_take(FILE *file)
{
	for (struct chunk *chunk = &first_chunk; chunk; chunk = atomic_load(&chunk->next))
		for (unsigned i = 0; i < CHUNK_STREAMS; i++) {
			FILE *wanted = file;

			if (atomic_load(&chunk->stream[i].file) == file &&
				atomic_compare_exchange_strong(&chunk->stream[i].file, &wanted, CLAIMED))
				return &chunk->stream[i];
		}
	return NULL;
}

/* ---- popen() -------------------------------------------------------------------------------- */

struct popen_mode {
	bool writes, cloexec;
};

static bool mode_parse(const char *text, struct popen_mode *mode)
{
	bool reads = false;

	*mode = (struct popen_mode){false, false};
	for (; *text; text++) {
		if (*text == 'r')
			reads = true;
		else if (*text == 'w')
			mode->writes = true;
		else if (*text == 'e')
			mode->cloexec = true;
		else
			return false;
	}
	return reads != mode->writes;
}

/* The child has no end of the pipes of other streams: those whose programs wait for the end of their input. */
static int actions_fill(posix_spawn_file_actions_t *actions, int child_end, int wanted)
{
	int error = 0;

	for (struct chunk *chunk = &first_chunk; chunk; chunk = atomic_load(&chunk->next))
		for (unsigned i = 0; i < CHUNK_STREAMS && !error; i++) {
			int fd = atomic_load(&chunk->stream[i].fd);

			if (atomic_load(&chunk->stream[i].file) && fd >= 0 && fd != wanted && fd != child_end)
				error = posix_spawn_file_actions_addclose(actions, fd);
		}
	return error ? error : posix_spawn_file_actions_adddup2(actions, child_end, wanted);
}

/* 0 or an errno value */
static int popen_spawn(struct stream *stream, const char *command, int child_end, int wanted)
{
	posix_spawn_file_actions_t actions;
	int error = posix_spawn_file_actions_init(&actions);

	if (error)
		return error;
	error = actions_fill(&actions, child_end, wanted);
	if (!error)
		error = exec_spawn_shell(command, &actions, NULL, &stream->pid);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

static FILE *popen_stream(struct stream *stream, const char *command, struct popen_mode mode)
{
	int ends[2], error;
	FILE *file;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return NULL;
	int ours = ends[mode.writes], child_end = ends[!mode.writes];
	file = fdopen(ours, mode.writes ? "w" : "r");
	error = file ? popen_spawn(stream, command, child_end, mode.writes ? 0 : 1) : errno;
	REAL(close)(child_end);
	if (error) {
		if (file)
			REAL(fclose)(file);
		else
			REAL(close)(ours);
		errno = error;
		return NULL;
	}
	if (!mode.cloexec)
		fcntl(ours, F_SETFD, 0);
	atomic_store(&stream->fd, ours);
	return file;
}

static FILE *popen_here(const char *command, const char *text)
{
	struct popen_mode mode;
	struct stream *stream;
	FILE *file;

	if (!mode_parse(text, &mode)) {
		errno = EINVAL;
		return NULL;
	}
	stream = stream_claim();
	if (!stream) {
		errno = ENOMEM;
		return NULL;
	}
	file = popen_stream(stream, command, mode);
	if (file)
		atomic_store(&stream->file, file);
	else
		stream_free(stream);
	return file;
}

EXPORT FILE *popen(const char *command, const char *mode)
{
	struct libc_call call = {.command = command, .mode = mode};

	if (!is_libcs())
		return popen_here(command, mode);
	call_off_managed_stack(libc_work, &call);
	errno = call.error;
	return call.file;
}

static int close_stream(struct stream *stream, FILE *file)
{
	pid_t pid = stream->pid;
	int status = -1;

	stream_free(stream); /* before its number is somebody else's */
	REAL(fclose)(file);
	return wait_for(pid, &status) ? -1 : status;
}

EXPORT int fclose(FILE *file)
{
	struct stream *stream =
		likely(!atomic_load_explicit(&nr_streams, memory_order_relaxed)) ? NULL : stream_take(file);

	return unlikely(stream != NULL) ? close_stream(stream, file) : REAL(fclose)(file);
}

EXPORT int pclose(FILE *file)
{
	struct stream *stream = atomic_load(&nr_streams) ? stream_take(file) : NULL;

	return stream ? close_stream(stream, file) : REAL(pclose)(file);
}
