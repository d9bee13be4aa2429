/* SPDX-License-Identifier: MIT */
/*
 * The end of `anonmm run --stats`: the counters of every process of the run, and their sum.
 *
 * A process that ended by itself left a snapshot. Of a process that was killed there are the counters up to that
 * moment. In the total a counter is the sum over the processes, and a state (frames, slots) is the largest of any
 * process.
 */
#include "cli/cli.h"
#include "run/tree/ledger.h"
#include "base/size.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ROWS_MAX 24 /* of the table; JSON has them all */

#define FIELD(member, state)                                                                                 \
	{                                                                                                    \
		.name = #member, .offset = offsetof(struct anonmm_stats, member), .is_state = state          \
	}
#define COUNTER(member) FIELD(member, false)
#define STATE(member) FIELD(member, true)

static const struct stats_field fields[] = {
	COUNTER(faults),
	COUNTER(minor_faults),
	COUNTER(major_faults),
	COUNTER(armed_faults),
	COUNTER(born),
	COUNTER(zero_mapped),
	COUNTER(copied),
	COUNTER(swapped_out),
	COUNTER(written),
	COUNTER(clean_dropped),
	COUNTER(zero_dropped),
	COUNTER(shared_slots),
	COUNTER(swapped_in),
	COUNTER(readahead),
	COUNTER(readahead_hits),
	COUNTER(readahead_misses),
	COUNTER(freed),
	COUNTER(scanned),
	COUNTER(activated),
	COUNTER(deactivated),
	COUNTER(kswapd_wakes),
	COUNTER(direct_reclaims),
	COUNTER(io_errors),
	COUNTER(lost_pages),
	COUNTER(oom),
	COUNTER(copied_early),
	COUNTER(file_mapped),
	COUNTER(file_reads),
	COUNTER(file_errors),
	COUNTER(forks),
	COUNTER(merged),
	COUNTER(unmerged),
	COUNTER(pinned),
	COUNTER(migrated),
	COUNTER(migrate_failed),
	STATE(frames),
	STATE(frames_free),
	STATE(frames_used),
	STATE(frames_peak),
	STATE(slots),
	STATE(slots_used),
	STATE(mapped_bytes),
	STATE(metadata_bytes),
	STATE(store_bytes),
	STATE(swap_read_ns),
	STATE(swap_write_ns),
};

_Static_assert(sizeof(fields) / sizeof(fields[0]) * sizeof(uint64_t) == sizeof(struct anonmm_stats),
	"every counter is reported");

const struct stats_field *stats_field(size_t i)
{
	return i < ARRAY_SIZE(fields) ? &fields[i] : NULL;
}

uint64_t stats_get(const struct anonmm_stats *stats, const struct stats_field *field)
{
	return *(const uint64_t *)((const char *)stats + field->offset);
}

static void add(struct anonmm_stats *total, const struct anonmm_stats *stats)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		uint64_t *sum = (uint64_t *)((char *)total + fields[i].offset);
		uint64_t value = stats_get(stats, &fields[i]);
		*sum = fields[i].is_state ? max_u64(*sum, value) : *sum + value;
	}
}

/* ---- Records ---------------------------------------------------------------------------- */

static uint32_t nr_records(const struct report *report)
{
	return (uint32_t)min_u64(atomic_load(&report->ledger->programs), LEDGER_RECORDS);
}

static uint32_t nr_unrecorded(const struct report *report)
{
	return atomic_load(&report->ledger->programs) - nr_records(report);
}

static const struct record *record_at(const struct report *report, uint32_t i)
{
	return &report->ledger->records[i];
}

static void sum_up(const struct report *report, struct anonmm_stats *total, uint64_t *peak_bytes)
{
	memset(total, 0, sizeof(*total));
	*peak_bytes = report->peak_bytes;
	for (uint32_t i = 0; i < nr_records(report); i++) {
		add(total, &record_at(report, i)->stats);
		*peak_bytes = max_u64(*peak_bytes, record_at(report, i)->vm_hwm_bytes);
	}
}

/* ---- Table ------------------------------------------------------------------------------ */

static void print_row(
	FILE *out, const char *pid, const char *name, uint64_t peak_bytes, const struct anonmm_stats *stats)
{
	char peak[32] = "-";

	if (peak_bytes)
		snprintf(peak, sizeof(peak), "%.1f", (double)peak_bytes / MIB);
	fprintf(out, "%8s  %-15.15s %9s %11lu %11lu %11lu %11lu %11lu\n", pid, name, peak, stats->born,
		stats->swapped_out, stats->swapped_in, stats->faults, stats->major_faults);
}

static void print_troubles(FILE *out, const struct report *report, const struct anonmm_stats *total)
{
	if (total->io_errors)
		fprintf(out, "anonmm: %lu request(s) failed on the swap device\n", total->io_errors);
	if (total->lost_pages)
		fprintf(out, "anonmm: the content of %lu page(s) was lost\n", total->lost_pages);
	if (total->oom)
		fprintf(out, "anonmm: %lu fault(s) found neither memory nor swap\n", total->oom);
	if (nr_unrecorded(report))
		fprintf(out, "anonmm: %u processes more were managed, but the table of counters was full\n",
			nr_unrecorded(report));
	if (!nr_records(report))
		fprintf(out, "anonmm: no process was managed, or none could reach the counters\n");
}

static void print_table(FILE *out, const struct report *report)
{
	struct anonmm_stats total;
	uint64_t peak_bytes;
	char memory[32];

	sum_up(report, &total, &peak_bytes);
	fprintf(out, "anonmm: memory %s for %s, swap %s, %.1f s, exit status %d\n",
		size_text(report->memory_bytes, memory, sizeof(memory)),
		report->ledger->shared ? "all processes together" : "each process", report->swap,
		report->seconds, report->status);
	if (report->ledger->shared)
		fprintf(out, "anonmm: at most %s were given out at a time\n",
			size_text(atomic_load(&report->ledger->peak), memory, sizeof(memory)));
	fprintf(out, "%8s  %-15s %9s %11s %11s %11s %11s %11s\n", "pid", "program", "peak MiB", "born",
		"swapped out", "swapped in", "faults", "major");
	for (unsigned i = 0; i < nr_records(report) && i < ROWS_MAX; i++) {
		const struct record *record = record_at(report, i);
		char pid[16];
		snprintf(pid, sizeof(pid), "%d", atomic_load(&record->pid));
		print_row(out, pid, record->name, record->vm_hwm_bytes, &record->stats);
	}
	if (nr_records(report) > ROWS_MAX)
		fprintf(out, "%8s  and %u processes more\n", "...", nr_records(report) - ROWS_MAX);
	print_row(out, "", "total", peak_bytes, &total);
	print_troubles(out, report, &total);
}

/* ---- JSON ------------------------------------------------------------------------------- */

void json_stats(FILE *out, const struct anonmm_stats *stats)
{
	fputc('{', out);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		fprintf(out, "%s\"%s\": %lu", i ? ", " : "", fields[i].name, stats_get(stats, &fields[i]));
	fputc('}', out);
}

static const char *end_text(const struct record *record)
{
	static const char *const texts[] = {
		[RECORD_RUNNING] = "killed", [RECORD_EXECED] = "exec", [RECORD_EXITED] = "exit"};

	uint32_t end = atomic_load(&record->end);

	return end < ARRAY_SIZE(texts) ? texts[end] : "unknown";
}

static void json_record(FILE *out, const struct record *record)
{
	fprintf(out, "{\"pid\": %d, \"name\": ", atomic_load(&record->pid));
	json_text(out, record->name);
	fprintf(out,
		", \"end\": \"%s\", \"faults_mode\": \"%s\", \"copies\": %s, \"limit_bytes\": %lu, "
		"\"peak_bytes\": %lu, \"stats\": ",
		end_text(record), record->faults == ANONMM_FAULTS_SIGNAL ? "signal" : "thread",
		record->copies ? "true" : "false", record->limit_bytes, record->vm_hwm_bytes);
	json_stats(out, &record->stats);
	fputc('}', out);
}

static void print_json(FILE *out, const struct report *report)
{
	struct anonmm_stats total;
	uint64_t peak_bytes;

	sum_up(report, &total, &peak_bytes);
	fputs("{\"command\": [", out);
	for (char *const *word = report->command; *word; word++) {
		fputs(word == report->command ? "" : ", ", out);
		json_text(out, *word);
	}
	fprintf(out, "],\n \"exit_status\": %d, \"seconds\": %.3f, \"memory_bytes\": %lu, \"swap\": ",
		report->status, report->seconds, report->memory_bytes);
	json_text(out, report->swap);
	fprintf(out, ", \"peak_bytes\": %lu, \"shared\": %s, \"shared_peak_bytes\": %lu,\n \"total\": ",
		peak_bytes, report->ledger->shared ? "true" : "false",
		report->ledger->shared ? atomic_load(&report->ledger->peak) : 0);
	json_stats(out, &total);
	fprintf(out, ",\n \"unrecorded\": %u,\n \"processes\": [", nr_unrecorded(report));
	for (unsigned i = 0; i < nr_records(report); i++) {
		fputs(i ? ",\n  " : "\n  ", out);
		json_record(out, record_at(report, i));
	}
	fputs("]}\n", out);
}

int report_write(int fd, const struct report *report, bool json)
{
	FILE *out = fdopen(dup(fd), "w");

	if (!out)
		return -errno;
	(json ? print_json : print_table)(out, report);
	return fclose(out) ? -errno : 0;
}
