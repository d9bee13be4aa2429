/* SPDX-License-Identifier: MIT */
/*
 * Find the program to start, as the shell would find it, and check that it can be managed.
 *
 * The program's dynamic linker preloads the library. A static program has no dynamic linker. For a privileged program
 * the dynamic linker ignores LD_PRELOAD. Both would run without a limit, and nobody would notice, so they are refused
 * before they start. For a script, its interpreter is checked.
 */
#include "cli/cli.h"
#include "base/elfnote.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define INTERPRETERS_MAX 5 /* as the kernel: scripts of scripts */
#define HEAD_BYTES 4096

static bool is_program(const char *path, int *error)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		*error = errno;
		return false;
	}
	if (!S_ISREG(st.st_mode) || access(path, X_OK) < 0) {
		*error = EACCES;
		return false;
	}
	return true;
}

static int refuse_unfit(const char *name, int error)
{
	if (error == ENOENT || error == ENOTDIR) {
		cli_say("'%s' was not found%s", name, strchr(name, '/') ? "" : " in PATH");
		return EXIT_NOT_FOUND;
	}
	cli_say("'%s' cannot be run: %s", name,
		error == EACCES ? "not an executable file, or not for this user" : strerror(error));
	return EXIT_CANNOT_RUN;
}

/*
 * Find @name as execvp() does. A name with a slash is a path. Another name is looked for in the directories of PATH:
 * the first executable file counts, or else a file that is not executable.
 */
static int find(const char *name, char *path, size_t path_len)
{
	int error = ENOENT, worst = ENOENT;

	if (!*name)
		return refuse_unfit(name, ENOENT);
	if (strchr(name, '/')) {
		snprintf(path, path_len, "%s", name);
		return is_program(path, &error) ? 0 : refuse_unfit(name, error);
	}
	const char *dirs = getenv("PATH");
	for (const char *dir = dirs ? dirs : "/bin:/usr/bin"; dir;) {
		size_t len = strcspn(dir, ":");
		snprintf(path, path_len, "%.*s%s%s", (int)len, dir, len ? "/" : "", name);
		if (is_program(path, &error))
			return 0;
		if (error == EACCES)
			worst = EACCES;
		dir = dir[len] ? dir + len + 1 : NULL;
	}
	return refuse_unfit(name, worst);
}

/* ---- What kind of file ------------------------------------------------------------------ */

static int refuse(const char *path, const char *reason)
{
	cli_say("'%s' cannot be managed: %s", path, reason);
	return EXIT_OURS;
}

static int check_privilege(int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return refuse_unfit(path, errno);
	if (st.st_mode & S_ISUID)
		return refuse(
			path, "it is setuid, and the dynamic linker preloads nothing into such programs");
	if (st.st_mode & S_ISGID && st.st_mode & S_IXGRP)
		return refuse(
			path, "it is setgid, and the dynamic linker preloads nothing into such programs");
	if (fgetxattr(fd, "security.capability", NULL, 0) > 0)
		return refuse(path, "it has file capabilities, and the dynamic linker preloads nothing into "
				    "such programs");
	return 0;
}

static bool has_interpreter(int fd, const ElfW(Ehdr) * head)
{
	for (unsigned i = 0; i < head->e_phnum; i++) {
		ElfW(Phdr) segment;
		off_t at = (off_t)(head->e_phoff + i * sizeof(segment));
		if (pread(fd, &segment, sizeof(segment), at) != sizeof(segment))
			return false;
		if (segment.p_type == PT_INTERP)
			return true;
	}
	return false;
}

#define NOTES_MAX 4096 /* bytes of a segment of notes: they are some hundred */

static bool is_go(int fd, const ElfW(Ehdr) * head)
{
	_Alignas(ElfW(Nhdr)) char notes[NOTES_MAX];

	for (unsigned i = 0; i < head->e_phnum; i++) {
		ElfW(Phdr) segment;
		off_t at = (off_t)(head->e_phoff + i * sizeof(segment));
		if (pread(fd, &segment, sizeof(segment), at) != sizeof(segment))
			return false;
		if (segment.p_type != PT_NOTE)
			continue;
		size_t wanted = segment.p_filesz < NOTES_MAX ? segment.p_filesz : NOTES_MAX;
		ssize_t len = pread(fd, notes, wanted, (off_t)segment.p_offset);
		if (len > 0 && notes_have_go(notes, (size_t)len, segment.p_align))
			return true;
	}
	return false;
}

static int check_elf(int fd, const char *path, const char *head, size_t len)
{
	const ElfW(Ehdr) *elf = (const void *)head;

	if (len < sizeof(*elf) || elf->e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32))
		return refuse(path, "it is not a 64-bit program as anonmm is");
	if (elf->e_machine != EM_X86_64)
		return refuse(path, "it is made for another processor than anonmm");
	if (!has_interpreter(fd, elf))
		return refuse(path, "it is statically linked, so that no library can be preloaded into it. "
				    "Link it dynamically, or use libanonmm in it");
	if (is_go(fd, elf))
		return refuse(path,
			"it is a Go program, whose run-time system handles its memory by system calls of "
			"its own, not by the C library");
	return 0;
}

static int check_file(const char *path, unsigned depth);

/* "#!interpreter argument": the kernel cuts at the first blank or the end of the line. */
static int check_script(const char *path, char *head, unsigned depth)
{
	char *interpreter = head + 2 + strspn(head + 2, " \t");
	int error = 0;

	interpreter[strcspn(interpreter, " \t\n")] = '\0';
	if (depth == INTERPRETERS_MAX)
		return refuse(path, "too many interpreters of interpreters");
	if (!is_program(interpreter, &error)) {
		cli_say("'%s' is a script, and its interpreter '%s' cannot be run: %s", path, interpreter,
			strerror(error));
		return EXIT_CANNOT_RUN;
	}
	return check_file(interpreter, depth + 1);
}

/* => @head has a byte behind @len that is 0 */
static int check_head(int fd, const char *path, char *head, size_t len, unsigned depth)
{
	if (len >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG)) {
		int status = check_privilege(fd, path);
		return status ? status : check_elf(fd, path, head, len);
	}
	if (len >= 2 && !memcmp(head, "#!", 2))
		return check_script(path, head, depth);
	/* execvp() runs a file that the kernel cannot execute by the shell. */
	return check_file("/bin/sh", depth + 1);
}

static int check_file(const char *path, unsigned depth)
{
	_Alignas(ElfW(Ehdr)) char head[HEAD_BYTES];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		/* The kernel can run a file that we cannot read, but we cannot tell whether it can be managed. */
		cli_say("'%s' cannot be read, to see whether it can be managed: %s", path, strerror(errno));
		return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
	}
	ssize_t len = read(fd, head, sizeof(head) - 1);
	int status = EXIT_CANNOT_RUN;
	if (len < 0) {
		cli_say("'%s' cannot be read: %s", path, strerror(errno));
	} else {
		head[len] = '\0';
		status = check_head(fd, path, head, (size_t)len, depth);
	}
	close(fd);
	return status;
}

int program_check(const char *name, char *path, size_t path_len)
{
	int status = find(name, path, path_len);
	return status ? status : check_file(path, 0);
}
