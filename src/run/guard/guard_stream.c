/* SPDX-License-Identifier: MIT */
/*
 * Transfers of any length through scratch memory.
 *
 * Up to GUARD_PIECE_BYTES of managed memory go in one call. A longer transfer depends on what is behind the
 * descriptor:
 *
 *   files, disks            Window by window, until one is short. The program gets as much as it asked for, as
 *                           natively.
 *   writes to streams       The same. A write that may wait for room goes on, as in the kernel. A write that may not
 *                           wait ends short.
 *   reads from streams      One window of at most LONG_BYTES: a pipe, a terminal or a socket may always give less.
 *                           With MSG_WAITALL window by window.
 *   messages                In one piece, of any size.
 *
 * Buffers of the program that are not managed go to the kernel as they are, in between.
 */
#include "run/guard/guard.h"
#include "run/raw.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define LONG_BYTES (1 * MIB)

struct transfer {
	const struct stream *stream;
	unsigned at; /* the first iovec that is not done */
	size_t offset; /* bytes of it that are done */
	struct iovec *window; /* the parts of the next call; managed ones are replaced by parts of memory */
	unsigned nr; /* parts in the window */
	uint8_t *memory; /* scratch memory for the window's managed parts, one after the other */
	size_t memory_bytes;
};

static size_t managed_bytes(const struct stream *stream)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < stream->nr; i++)
		if (run_manages(stream->iov[i].iov_base))
			bytes += stream->iov[i].iov_len;
	return bytes;
}

enum nature { NATURE_FILE, NATURE_STREAM, NATURE_MESSAGES };

static enum nature nature_of(int fd)
{
	struct stat st;
	int type = 0;
	socklen_t len = sizeof(type);

	if (fstat(fd, &st))
		return NATURE_MESSAGES; /* the call itself will fail */
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		return NATURE_FILE;
	if (!S_ISSOCK(st.st_mode))
		return S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode) ? NATURE_STREAM : NATURE_MESSAGES;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM)
		return NATURE_STREAM;
	return NATURE_MESSAGES;
}

bool stream_takes_parts(int fd)
{
	return nature_of(fd) != NATURE_MESSAGES;
}

/* Fill the window with as much as there is scratch memory for. Returns its bytes. */
static size_t window_fill(struct transfer *t)
{
	const struct stream *stream = t->stream;
	size_t offset = t->offset, used = 0, bytes = 0;

	t->nr = 0;
	for (unsigned i = t->at; i < stream->nr; i++, offset = 0) {
		uint8_t *base = (uint8_t *)stream->iov[i].iov_base + offset;
		size_t len = stream->iov[i].iov_len - offset, whole = len;

		if (run_manages(base)) {
			len = min_u64(len, t->memory_bytes - used);
			if (!stream->out)
				memcpy(t->memory + used, base, len);
			base = t->memory + used;
			used += len;
		}
		t->window[t->nr].iov_base = base;
		t->window[t->nr++].iov_len = len;
		bytes += len;
		if (len < whole)
			break;
	}
	return bytes;
}

/* The call transferred @done bytes of the window: copy them to the program if it reads, and advance. */
static void window_done(struct transfer *t, size_t done)
{
	const struct stream *stream = t->stream;

	for (unsigned i = 0; i < t->nr && (done || !t->window[i].iov_len); i++) {
		uint8_t *base = (uint8_t *)stream->iov[t->at].iov_base + t->offset;
		size_t part = min_u64(done, t->window[i].iov_len);

		if (stream->out && run_manages(base))
			memcpy(base, t->window[i].iov_base, part);
		done -= part;
		t->offset += part;
		if (t->offset == stream->iov[t->at].iov_len) {
			t->at++;
			t->offset = 0;
		}
	}
}

static bool goes_on(const struct stream *stream, enum nature nature)
{
	return nature == NATURE_FILE || (nature == NATURE_STREAM && (!stream->out || stream->whole));
}

static long run_windows(struct transfer *t, bool loop)
{
	const struct stream *stream = t->stream;
	size_t total = 0, bytes;
	long result;

	do {
		bytes = window_fill(t);
		result = stream->issue(stream->ctx, t->window, t->nr, total);
		if (result <= 0)
			break;
		window_done(t, (size_t)result);
		total += (size_t)result;
	} while (loop && (size_t)result == bytes && t->at < stream->nr);
	return total ? (long)total : result;
}

/*
 * With MSG_TRUNC the result may be larger than the buffers. A message is one window, so its result is returned as it
 * is.
 */
long stream_run(const struct stream *stream)
{
	struct transfer t = {.stream = stream};
	size_t managed = managed_bytes(stream);
	enum nature nature = NATURE_MESSAGES; /* in one piece */
	uint64_t like = 0;

	if (managed > GUARD_PIECE_BYTES)
		nature = nature_of(stream->fd);
	t.memory_bytes = managed;
	if (nature == NATURE_FILE)
		t.memory_bytes = GUARD_PIECE_BYTES;
	else if (nature == NATURE_STREAM)
		t.memory_bytes = min_u64(managed, LONG_BYTES);
	for (unsigned i = stream->nr; i-- > 0;)
		if (run_manages(stream->iov[i].iov_base))
			like = (uintptr_t)stream->iov[i].iov_base;
	t.window = scratch_alloc(stream->scratch, (stream->nr + 1) * sizeof(*t.window), SCRATCH_ANYWHERE);
	t.memory = managed ? scratch_alloc(stream->scratch, t.memory_bytes, like) : NULL;
	if (!t.window || (managed && !t.memory))
		return -ENOMEM;
	return run_windows(&t, goes_on(stream, nature));
}
