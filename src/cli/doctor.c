/* SPDX-License-Identifier: MIT */
/* `anonmm doctor`: print what this host offers, what `anonmm run` does here, and which change would help most. */
#include "cli/cli.h"
#include "cli/doctor.h"
#include "base/size.h"

#include <getopt.h>
#include <string.h>

static const char help[] = "usage: anonmm doctor [--json]\n"
			   "\n"
			   "Find out whether programs can be managed here, and how well. What can be tried "
			   "is tried: nothing is changed,\n"
			   "and nothing stays behind.\n"
			   "\n"
			   "options:\n"
			   "  --json  the same as one JSON object\n"
			   "  --help  this text\n"
			   "\n"
			   "exit status: 0: `anonmm run` works here; 1: it does not. 125: anonmm failed.\n";

static const char *const section_titles[] = {
	[SECTION_FAULTS] = "Page faults",
	[SECTION_SWAP] = "Swap",
	[SECTION_MEMORY] = "Memory",
	[SECTION_PROCESS] = "This process",
};

static const char *const state_names[] = {
	[STATE_FACT] = "fact", [STATE_GOOD] = "good", [STATE_FAIR] = "fair", [STATE_BAD] = "bad"};
static const char *const state_marks[] = {
	[STATE_FACT] = "  ", [STATE_GOOD] = "ok", [STATE_FAIR] = "- ", [STATE_BAD] = "no"};

static const char *faults_name(enum anonmm_faults faults)
{
	return faults == ANONMM_FAULTS_SIGNAL ? "signal" : "thread";
}

static bool usable(const struct doctor *doctor)
{
	return doctor->choice.error == 0 && doctor->choice.swap_error == 0;
}

static void verdict(const struct doctor *doctor, char *text, size_t len)
{
	const struct choice *choice = &doctor->choice;

	if (usable(doctor) && doctor->change[0])
		snprintf(text, len, "usable; one change would make it better");
	else if (usable(doctor))
		snprintf(text, len, "usable, nothing to improve");
	else if (!choice->error)
		snprintf(text, len, "not usable with the default swap: name another one");
	else if (choice->signal_works)
		snprintf(text, len,
			"not usable as it is; --faults signal works, for programs whose system calls "
			"stay off swapped-out memory");
	else
		snprintf(text, len, "not usable; --fallback native runs programs without a limit");
}

/* ---- Text ---------------------------------------------------------------------------------- */

static void print_findings(const struct doctor *doctor)
{
	for (int section = 0; section < NR_SECTIONS; section++) {
		printf("%s\n", section_titles[section]);
		for (unsigned i = 0; i < doctor->nr; i++) {
			const struct finding *finding = &doctor->findings[i];

			if ((int)finding->section == section)
				printf("  %s  %-31s %s\n", state_marks[finding->state], finding->title,
					finding->text);
		}
	}
}

static void print_choice(const struct doctor *doctor)
{
	const struct choice *choice = &doctor->choice;

	puts("What `anonmm run` does here");
	if (choice->error)
		printf("  no  %-31s refused: %s\n", "--faults auto", strerror(-choice->error));
	else
		printf("  ok  %-31s %s: %s\n", "--faults auto", faults_name(choice->faults),
			choice->faults_why);
	if (!choice->error)
		printf("  %s  %-31s %s\n", state_marks[choice->copies ? STATE_FAIR : STATE_GOOD], "pages are",
			choice->copies ? "copied" : "moved");
	printf("  %s  %-31s %s\n", state_marks[choice->swap_error ? STATE_BAD : STATE_GOOD],
		"--swap " DEFAULT_SWAP, choice->swap_error ? choice->swap_why : "opens");
}

static void print_text(const struct doctor *doctor)
{
	char text[200];

	print_findings(doctor);
	print_choice(doctor);
	if (doctor->change[0])
		printf("\nBetter with: %s.\n", doctor->change);
	verdict(doctor, text, sizeof(text));
	printf("\nVerdict: %s.\n", text);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void json_member(const char *name, const char *text, const char *end)
{
	printf("  \"%s\": ", name);
	json_text(stdout, text);
	fputs(end, stdout);
}

static void json_numbers(const struct hostmem *mem)
{
	printf("  \"memory_bytes\": %lu,\n  \"available_bytes\": %lu,\n", mem->physical, mem->available);
	if (mem->version)
		printf("  \"cgroup_limit_bytes\": %lu,\n  \"cgroup_used_bytes\": %lu,\n", mem->limit,
			mem->limit_used);
}

static void print_json(const struct doctor *doctor)
{
	char text[200];

	verdict(doctor, text, sizeof(text));
	printf("{\n  \"usable\": %s,\n", usable(doctor) ? "true" : "false");
	json_member("verdict", text, ",\n");
	json_member("faults", doctor->choice.error ? "none" : faults_name(doctor->choice.faults), ",\n");
	json_member("why", doctor->choice.error ? doctor->choice.why : doctor->choice.faults_why, ",\n");
	json_member("change", doctor->change, ",\n");
	json_numbers(&doctor->mem);
	fputs("  \"findings\": {", stdout);
	for (unsigned i = 0; i < doctor->nr; i++) {
		const struct finding *finding = &doctor->findings[i];

		printf("%s\n    \"%s\": {\"state\": \"%s\", \"text\": ", i ? "," : "", finding->key,
			state_names[finding->state]);
		json_text(stdout, finding->text);
		putchar('}');
	}
	puts("\n  }\n}");
}

int cmd_doctor(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	static struct doctor doctor;
	bool json = false;
	int option;

	argv[0] = "anonmm doctor";
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return 0;
		}
		if (option != 'j') {
			fputs("anonmm: `anonmm doctor --help` tells the options\n", stderr);
			return EXIT_OURS;
		}
		json = true;
	}
	if (optind < argc) {
		cli_say("doctor takes no argument '%s'", argv[optind]);
		return EXIT_OURS;
	}
	doctor_look(&doctor);
	(json ? print_json : print_text)(&doctor);
	return usable(&doctor) ? 0 : 1;
}
