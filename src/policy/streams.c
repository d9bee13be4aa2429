/* SPDX-License-Identifier: MIT */
/* Streams of faults: contract/policy.h says what they are. */
#include "contract/policy.h"

#include <stdlib.h>
#include <string.h>

/*
 * A stream ends after this many faults that did not continue it. Otherwise a later fault could meet the old stream's
 * next page by chance.
 */
#define STREAM_LIFE 64
#define NEIGHBOURS 2 /* a fault begins a stream if one of this many latest faults was on the page beside it */

/*
 * The largest window of a stream with this step. With a step other than 1 or -1 each page takes a request of its own,
 * so such a stream gets at most an eighth of the requests.
 */
static unsigned window_max(const struct stream_look *look, int step)
{
	unsigned max = (unsigned)min_u64(READAHEAD_MAX, max_u64(look->frames / 64, 1));

	return step == 1 || step == -1 ? max : (unsigned)min_u64(max, look->requests / 8);
}

uint32_t stream_pages_left(const struct fault_stream *s, uint32_t first, uint32_t end, uint32_t index)
{
	uint32_t room = s->step > 0 ? end - 1 - index : index - first;

	return room / (uint32_t)abs(s->step) + 1;
}

static bool in_vma(const struct stream_look *look, uint32_t index)
{
	return index >= look->first && index < look->end;
}

static void stream_end(const struct stream_look *look, struct fault_stream *s)
{
	if (in_vma(look, s->next))
		look->cancel(look->ctx, s, s->ahead);
	s->window = 0;
}

/*
 * Is @index the page that the stream expects next, or a page after it within the window? *@skipped: how many pages lie
 * between. A stream may skip pages, because pages that are still in memory do not fault.
 */
static bool stream_reaches(const struct fault_stream *s, uint32_t index, uint32_t *skipped)
{
	uint32_t stride = (uint32_t)(s->step > 0 ? s->step : -s->step);
	uint32_t way = s->step > 0 ? index - s->next : s->next - index;

	if (way > s->window * stride || way % stride)
		return false;
	*skipped = way / stride;
	return true;
}

/*
 * The stream continues with page @index. If it skipped the expected page although that page is out, the guess was
 * wrong, and the window becomes 1. Otherwise the window doubles.
 */
static void stream_go_on(
	const struct stream_look *look, struct fault_stream *s, uint32_t index, uint32_t skipped)
{
	bool missed = skipped > 0 && in_vma(look, s->next) && !look->is_present(look->ctx, s->next);

	if (missed)
		look->cancel(look->ctx, s, (unsigned)min_u64(skipped, s->ahead));
	s->window = (uint16_t)(missed ? 1 : min_u64(s->window * 2u, window_max(look, s->step)));
	s->ahead -= (uint16_t)min_u64(s->ahead, skipped);
	s->next = s->last = index;
}

static struct fault_stream *stream_met(
	struct fault_streams *streams, const struct stream_look *look, uint32_t index)
{
	for (unsigned i = 0; i < NR_STREAMS; i++) {
		struct fault_stream *s = &streams->at[i];
		uint32_t skipped;

		if (!s->window)
			continue;
		if (index == s->last)
			return s;
		if (stream_reaches(s, index, &skipped)) {
			stream_go_on(look, s, index, skipped);
			return s;
		}
		if ((uint16_t)(streams->clock - s->used) > STREAM_LIFE)
			stream_end(look, s);
	}
	return NULL;
}

/* ---- How one begins ------------------------------------------------------------------------ */

static bool was_recent(const struct fault_streams *streams, uint32_t index)
{
	bool found = false;

	for (unsigned i = 0; i < NR_RECENT; i++)
		found |= streams->recent[i] == ~index;
	return found;
}

/*
 * The step of a stream that the recent faults and @index make: 1 or -1 if one of the NEIGHBOURS latest faults was on
 * the page beside @index; another step if it led to @index three times in a row. 0: they make none.
 */
static int step_to(const struct fault_streams *streams, uint32_t index)
{
	for (unsigned i = 0; i < NR_RECENT && streams->recent[i]; i++) {
		uint32_t step = index - ~streams->recent[i];

		if (step + STRIDE_MAX > 2 * STRIDE_MAX)
			continue;
		if (i < NEIGHBOURS && step + 1 <= 2)
			return (int)step;
		if (was_recent(streams, index - 2 * step) && was_recent(streams, index - 3 * step))
			return (int)step;
	}
	return 0;
}

/* Forget the recent faults if the last of them is more than STREAM_LIFE faults ago. */
static void forget(struct fault_streams *streams)
{
	if ((uint16_t)(streams->clock - streams->remembered) > STREAM_LIFE)
		memset(streams->recent, 0, sizeof(streams->recent));
	streams->remembered = streams->clock;
}

static void remember(struct fault_streams *streams, uint32_t index)
{
	memmove(&streams->recent[1], &streams->recent[0], (NR_RECENT - 1) * sizeof(streams->recent[0]));
	streams->recent[0] = ~index;
}

/*
 * Begin a stream at @index. It replaces an unused stream, or the one that was continued longest ago.
 *
 * Two pages beside each other are often one object, so the first window is 1: nothing is read ahead before a third page
 * follows. Four pages at equal distances are proof enough: the first window is 2. (A join in sqlite3, half of its
 * memory on a file: 8.2 s when the second page began to read ahead, 5.2 s like this, 7.3 s without any readahead.)
 */
static struct fault_stream *stream_begin(
	struct fault_streams *streams, const struct stream_look *look, uint32_t index, int step)
{
	struct fault_stream *oldest = &streams->at[0];

	for (unsigned i = 1; i < NR_STREAMS && oldest->window; i++) {
		struct fault_stream *s = &streams->at[i];

		if (!s->window ||
			(uint16_t)(streams->clock - s->used) > (uint16_t)(streams->clock - oldest->used))
			oldest = s;
	}
	if (oldest->window)
		stream_end(look, oldest);
	*oldest = (struct fault_stream){.next = index,
		.last = index,
		.window = step == 1 || step == -1 ? 1 : (uint16_t)min_u64(2, window_max(look, step)),
		.step = (int16_t)step};
	return oldest;
}

/* A fault of no stream: does one begin here? */
static struct fault_stream *stream_new(
	struct fault_streams *streams, const struct stream_look *look, uint32_t index)
{
	forget(streams);
	if (was_recent(streams, index))
		return NULL;
	int step = step_to(streams, index);

	if (!step && look->sequential)
		step = 1;
	remember(streams, index);
	return step ? stream_begin(streams, look, index, step) : NULL;
}

struct fault_stream *stream_find(
	struct fault_streams *streams, const struct stream_look *look, uint32_t index)
{
	if (look->random)
		return NULL;
	streams->clock++;
	struct fault_stream *s = stream_met(streams, look, index);

	if (!s)
		s = stream_new(streams, look, index);
	if (!s)
		return NULL;
	if (look->sequential)
		s->window = (uint16_t)window_max(look, s->step);
	s->used = streams->clock;
	return s;
}

void stream_served(struct fault_stream *stream, uint32_t index, unsigned nr)
{
	if (!stream || stream->next != index) /* the fault was on the stream's last page once more */
		return;
	stream->next = index + nr * (uint32_t)stream->step;
	stream->ahead -= (uint16_t)min_u64(stream->ahead, nr);
}

void stream_too_early(struct fault_stream *stream)
{
	stream->window = (uint16_t)max_u64(stream->window / 2u, 1);
}
