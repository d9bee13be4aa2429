/* SPDX-License-Identifier: MIT */
/* `anonmm`: find the subcommand and call it. */
#include "cli/cli.h"
#include "anonmm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct command commands[] = {
	{"doctor", cmd_doctor, "say what this host offers, and what would make it better"},
	{"limit", cmd_limit, "change the limit of a running program"},
	{"ps", cmd_ps, "list the programs that are being managed"},
	{"run", cmd_run, "run a program in less memory than it wants"},
	{"stat", cmd_stat, "show what a running program's memory does"},
	{"touch", cmd_touch, "bring a running program's memory in, for who looks in from outside"},
	{"walk", cmd_walk, "follow one page from its birth to its end"},
};

#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

void cli_say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("anonmm: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

static void print_help(FILE *out)
{
	fputs("usage: anonmm COMMAND [OPTION]... [ARGUMENT]...\n"
	      "\n"
	      "anonmm gives a program more anonymous memory than the RAM that it may use: what does not\n"
	      "fit goes to swap of its own, in user space, without set-up and without changing the program.\n"
	      "\n"
	      "commands:\n",
		out);
	for (size_t i = 0; i < NR_COMMANDS; i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
	fputs("\n"
	      "options:\n"
	      "  --help     this text; `anonmm COMMAND --help` tells more\n"
	      "  --version  the version\n"
	      "\n"
	      "examples:\n"
	      "  anonmm run --memory 2G -- ./job input      finishes in 2 GiB of RAM\n"
	      "  anonmm run --memory 25% --stats -- make    and says afterwards what it took\n"
	      "  anonmm walk                                the states that a page goes through\n"
	      "  anonmm walk fork                           and those of one that two programs share\n",
		out);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return EXIT_OURS;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("anonmm %s\n", anonmm_version());
		return 0;
	}
	const struct command *command = find_command(argv[1]);
	if (!command) {
		cli_say("there is no command '%s'; `anonmm --help` lists those that there are", argv[1]);
		return EXIT_OURS;
	}
	return command->main(argc - 1, argv + 1);
}
