/* SPDX-License-Identifier: MIT */
/*
 * The oracle: what spaces and files must contain, as arrays of bytes. It knows nothing of frames, swap or time.
 *
 *      oracle (a space) --- pages --- own value, or what is behind it: zeros, a file, shared memory
 *      object (a file or shared memory) --- its own pages
 *
 * A value is 4096 bytes that never change: a write makes a new value. So a fork copies pointers, and a write of one
 * space cannot reach another by mistake.
 */
#ifndef ANONMM_TEST_ORACLE_H
#define ANONMM_TEST_ORACLE_H

#include "base/base.h"

#include <sys/mman.h>

#define ORACLE_PAGES 1024u
#define OBJECT_PAGES 192u

/* NULL stands for zeros. */
struct value {
	unsigned refs;
	uint8_t bytes[PAGE_BYTES];
};

/* A file, whose bytes follow from its number, or shared memory, whose bytes are what was written. */
struct object {
	bool used; /* this place is taken */
	bool open; /* the opener still holds it */
	bool shmem;
	bool failing; /* reads of some of its pages fail for now */
	bool released; /* its file_ops were told that it is gone */
	unsigned number; /* of all that there ever were */
	unsigned mapped; /* pages of all spaces that map it */
	uint64_t bytes;
	struct file *file;
	struct value *values[OBJECT_PAGES]; /* shmem */
	uint16_t cut[OBJECT_PAGES]; /* file: bytes from here on were cut off, and are zeros */
	uint8_t generation[OBJECT_PAGES]; /* file: how often the page was cut off as a whole */
};

enum whose {
	BEHIND, /* what is behind it: zeros, or the object's page */
	OWN, /* its own value */
	OWN_OR_BEHIND, /* its own, or from some moment on what is behind, until it is written */
};

struct oracle_page {
	bool mapped, shared;
	uint8_t prot;
	enum whose content;
	uint32_t index; /* in the object */
	struct object *object; /* NULL: anonymous */
	struct value *own;
};

struct oracle {
	struct oracle_page pages[ORACLE_PAGES];
};

/* ---- Spaces ---- */

/* What was there goes. @object NULL: anonymous; else its pages from @index on. */
void oracle_map(struct oracle *o, unsigned first, unsigned nr, int prot, struct object *object, bool shared,
	uint32_t index);
void oracle_unmap(struct oracle *o, unsigned first, unsigned nr);
/* The run is mremapped: its pages go on at @to, where what was there goes, and more of the same follow. */
void oracle_move(struct oracle *o, unsigned first, unsigned nr, unsigned to, unsigned new_nr);
void oracle_fork(struct oracle *child, const struct oracle *parent);
/* MADV_DONTNEED, or (@maybe) MADV_FREE. */
void oracle_drop(struct oracle *o, unsigned first, unsigned nr, bool maybe);
/* MADV_POPULATE_WRITE, mlock: private pages of an object may have been copied. */
void oracle_populate(struct oracle *o, unsigned first, unsigned nr);
/* The object is shorter now: private copies behind its end are gone. */
void oracle_truncate(struct oracle *o, const struct object *object);

bool oracle_is_mapped(const struct oracle *o, unsigned first, unsigned nr);
bool oracle_is_hole(const struct oracle *o, unsigned first, unsigned nr);
bool oracle_has_hole(const struct oracle *o, unsigned nr);
bool oracle_has_object(const struct oracle *o, unsigned first, unsigned nr);

/* What an access must say: 0, -EFAULT, or -EIO behind a file's end. Who may write may read, as on most hardware. */
int oracle_access(const struct oracle_page *page, bool write);
/* A file's page that may have to be read while reads fail. */
bool oracle_may_fail(const struct oracle_page *page);

/* The bytes that must be there; @scratch: PAGE_BYTES to make them in. => OWN_OR_BEHIND: its own */
const uint8_t *oracle_bytes(const struct oracle_page *page, uint8_t *scratch);
/* Does a whole page that was read agree? Of two possibilities it also tells which. */
bool oracle_agrees(struct oracle_page *page, const uint8_t *found);
/* A part of the page was written. @found: all of it, read just after, or NULL: it could not be read. */
bool oracle_written(
	struct oracle_page *page, unsigned offset, const uint8_t *bytes, unsigned len, const uint8_t *found);

/* ---- Objects ---- */

static inline uint64_t object_nr_pages(const struct object *object)
{
	return (object->bytes + PAGE_BYTES - 1) / PAGE_BYTES;
}

/* => at most OBJECT_PAGES */
void object_init(struct object *object, bool shmem, uint64_t bytes, unsigned number);
void object_truncate(struct object *object, uint64_t bytes);
void object_destroy(struct object *object);
/* What the file has at @index. */
void object_file_bytes(const struct object *object, uint64_t index, uint8_t *bytes);
/* Does reading this page fail for now? */
bool object_read_fails(const struct object *object, uint64_t index);

#endif
