/* SPDX-License-Identifier: MIT */
/*
 * Notes in an ELF file: they tell which run-time system a program brings along.
 *
 * Go's run-time system maps memory by libc if C is linked to it. But it unmaps memory, and sets signal stacks and
 * signal masks, by system calls of its own. We would see only half of what happens to its heap, so Go programs are not
 * managed. They are treated as statically linked programs are; most of them are statically linked.
 */
#ifndef ANONMM_ELFNOTE_H
#define ANONMM_ELFNOTE_H

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define NOTE_GO "Go\0" /* four bytes with the final zero */
#define NOTE_GO_BUILD_ID 4

static inline bool note_is_go(const ElfW(Nhdr) * note, const char *name)
{
	return note->n_type == NOTE_GO_BUILD_ID && note->n_namesz == 4 && !memcmp(name, NOTE_GO, 4);
}

/* Is there a note of Go's in the @len bytes at @notes, from a segment PT_NOTE with alignment @align (4 or 8)? */
static inline bool notes_have_go(const char *notes, size_t len, size_t align)
{
	size_t mask = (align == 8 ? 8 : 4) - 1, at = 0;

	while (at <= len && len - at >= sizeof(ElfW(Nhdr)) + 4) {
		const ElfW(Nhdr) *note = (const void *)(notes + at);
		size_t name = at + sizeof(*note);
		if (note_is_go(note, notes + name))
			return true;
		size_t data = (name + note->n_namesz + mask) & ~mask;
		at = (data + note->n_descsz + mask) & ~mask;
		if (at <= name) /* the file gives sizes that wrap around: it is damaged */
			return false;
	}
	return false;
}

#endif
