/* SPDX-License-Identifier: MIT */
/* Which cluster comes next; see clusters.h. */
#include "mm/swap/clusters.h"

#define BIT(at) (1ull << ((at) % 64))

static size_t map_words(uint32_t nr_bits)
{
	return (nr_bits + 63ul) / 64;
}

static uint32_t nr_clusters(uint32_t nr_slots)
{
	return (uint32_t)((nr_slots + SWAP_CLUSTER - 1ul) / SWAP_CLUSTER);
}

size_t clusters_bytes(uint32_t nr_slots)
{
	uint32_t nr = nr_clusters(nr_slots);
	size_t words = map_words(nr), bits = words + map_words((uint32_t)words);

	return page_align_up(CLUSTER_FILLS * bits * sizeof(uint64_t) + nr * sizeof(uint16_t));
}

uint32_t cluster_slots(const struct clusters *c, uint32_t cluster)
{
	return (uint32_t)min_u64(SWAP_CLUSTER, c->nr_slots - (uint64_t)cluster * SWAP_CLUSTER);
}

static bool is_so(const struct clusters *c, enum cluster_fill fill, uint32_t cluster)
{
	switch (fill) {
	case CLUSTER_WHOLE:
		return c->free[cluster] == cluster_slots(c, cluster);
	case CLUSTER_HALF:
		return c->free[cluster] >= SWAP_CLUSTER / 2;
	case CLUSTER_SOME:
	case CLUSTER_FILLS:
		break;
	}
	return c->free[cluster] > 0;
}

static void note(struct clusters *c, uint32_t cluster)
{
	uint32_t word = cluster / 64;

	for (int fill = 0; fill < CLUSTER_FILLS; fill++) {
		if (is_so(c, (enum cluster_fill)fill, cluster))
			c->map[fill][word] |= BIT(cluster);
		else
			c->map[fill][word] &= ~BIT(cluster);
		if (c->map[fill][word])
			c->words[fill][word / 64] |= BIT(word);
		else
			c->words[fill][word / 64] &= ~BIT(word);
	}
}

void clusters_init(struct clusters *c, uint32_t nr_slots, void *memory)
{
	uint64_t *at = memory;

	*c = (struct clusters){.nr = nr_clusters(nr_slots), .nr_slots = nr_slots};
	size_t words = map_words(c->nr);

	for (int fill = 0; fill < CLUSTER_FILLS; fill++) {
		c->map[fill] = at;
		c->words[fill] = at + words;
		at += words + map_words((uint32_t)words);
	}
	c->free = (uint16_t *)at;
	for (uint32_t cluster = 0; cluster < c->nr; cluster++) {
		c->free[cluster] = (uint16_t)cluster_slots(c, cluster);
		note(c, cluster);
	}
}

void cluster_take(struct clusters *c, uint32_t cluster)
{
	assert(c->free[cluster] > 0);
	c->free[cluster]--;
	note(c, cluster);
}

void cluster_give(struct clusters *c, uint32_t cluster)
{
	assert(c->free[cluster] < cluster_slots(c, cluster));
	c->free[cluster]++;
	note(c, cluster);
}

/*
 * The first set bit of [@from, @end), but only in the word of @map that has bit @from. NO_CLUSTER: there is none.
 */
static uint32_t bit_in_word(const uint64_t *map, uint32_t from, uint32_t end)
{
	uint64_t bits = from < end ? map[from / 64] & ~(BIT(from) - 1) : 0;
	uint32_t at = bits ? from / 64 * 64 + (uint32_t)__builtin_ctzll(bits) : end;

	return at < end ? at : NO_CLUSTER;
}

/*
 * The first cluster of [from, end) that reaches @fill. First in the word that has @from; then in the first later word
 * that is not zero, which the map of words tells.
 */
static uint32_t first_in(const struct clusters *c, enum cluster_fill fill, uint32_t from, uint32_t end)
{
	uint32_t found = bit_in_word(c->map[fill], from, end);
	uint32_t nr_words = (uint32_t)map_words(end);

	for (uint32_t word = from / 64 + 1; found == NO_CLUSTER && word < nr_words;) {
		uint32_t next = bit_in_word(c->words[fill], word, nr_words);

		if (next != NO_CLUSTER)
			return bit_in_word(c->map[fill], next * 64, end);
		word = (word / 64 + 1) * 64;
	}
	return found;
}

uint32_t cluster_next(const struct clusters *c, enum cluster_fill fill, uint32_t from, uint32_t end)
{
	uint32_t found = first_in(c, fill, from + 1, end);

	return found != NO_CLUSTER ? found : first_in(c, fill, 0, (uint32_t)min_u64(end, from + 1ul));
}

bool clusters_check(const struct clusters *c)
{
	for (uint32_t cluster = 0; cluster < c->nr; cluster++) {
		for (int fill = 0; fill < CLUSTER_FILLS; fill++) {
			uint64_t word = c->map[fill][cluster / 64];

			if ((word & BIT(cluster) ? true : false) !=
				is_so(c, (enum cluster_fill)fill, cluster))
				return false;
			if ((c->words[fill][cluster / 4096] >> (cluster / 64 % 64) & 1) != (word != 0))
				return false;
		}
	}
	return true;
}
