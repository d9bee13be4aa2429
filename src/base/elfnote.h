/* SPDX-License-Identifier: MIT */
/*
 * Notes in an ELF file: which run-time system a program brings along.
 *
 * Go's maps memory by libc where C is linked to it, but gives it back, sets its signal stacks and its masks by system calls
 * of its own. Half of what happens to its heap would not be seen, so it is not managed: its programs are treated as
 * static ones are, which most of them are.
 */
#ifndef ANONMM_ELFNOTE_H
#define ANONMM_ELFNOTE_H

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define NOTE_GO "Go\0" /* with its zero: four bytes */
#define NOTE_GO_BUILD_ID 4

static inline bool note_is_go(const ElfW(Nhdr) * note, const char *name)
{
	return note->n_type == NOTE_GO_BUILD_ID && note->n_namesz == 4 && !memcmp(name, NOTE_GO, 4);
}

/* @notes: a segment PT_NOTE, @len bytes of it, aligned to @align (4 or 8). */
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
		if (at <= name) /* sizes that make no sense */
			return false;
	}
	return false;
}

#endif
