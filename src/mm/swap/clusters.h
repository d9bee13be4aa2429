/* SPDX-License-Identifier: MIT */
/*
 * Clusters of slots, by how many of them are free: which one is written to next.
 *
 * For each of three measures there is a bitmap of the clusters that reach it, and a bitmap of its words that are not
 * zero. So the next one is found in a few steps however many clusters there are, with the pager lock held.
 *
 *      whole   all its slots are free
 *      half    at least half of a full cluster's are
 *      some    at least one is
 *
 * Equation: the maps say what @free says (clusters_check).
 */
#ifndef ANONMM_CLUSTERS_H
#define ANONMM_CLUSTERS_H

#include "base/base.h"

#define SWAP_CLUSTER 256 /* slots: 1 MiB, the largest write */

enum cluster_fill { CLUSTER_WHOLE, CLUSTER_HALF, CLUSTER_SOME, CLUSTER_FILLS };

/* Locks: all [L] */
struct clusters {
	uint32_t nr; /* [I] */
	uint32_t nr_slots; /* [I] the last cluster may be shorter */
	uint16_t *free; /* [I] the array: free slots of each */
	uint64_t *map[CLUSTER_FILLS]; /* [I] the array: a bit for each cluster */
	uint64_t *words[CLUSTER_FILLS]; /* [I] the array: a bit for each word of the map */
};

#define NO_CLUSTER UINT32_MAX

/* How much memory they take, zeroed, and have them all free in there. */
size_t clusters_bytes(uint32_t nr_slots);
void clusters_init(struct clusters *c, uint32_t nr_slots, void *memory);

uint32_t cluster_slots(const struct clusters *c, uint32_t cluster);

/* One slot of it is taken, or free again. */
void cluster_take(struct clusters *c, uint32_t cluster);
void cluster_give(struct clusters *c, uint32_t cluster);

/* The first behind @from, round the end, of the first @end that is so; @from itself comes last. NO_CLUSTER: none */
uint32_t cluster_next(const struct clusters *c, enum cluster_fill fill, uint32_t from, uint32_t end);

/* For the validator: is the equation true? */
bool clusters_check(const struct clusters *c);

#endif
