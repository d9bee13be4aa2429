/* SPDX-License-Identifier: MIT */
/*
 * Clusters of slots, by how many of their slots are free: which cluster is written to next.
 *
 * For each of three measures there is a bitmap of the clusters that reach it, and a bitmap of the words of that map
 * which are not zero. So the next cluster is found in a few steps, however many there are; the pager lock is held.
 *
 *      whole   all slots of the cluster are free
 *      half    at least half of a full cluster's slots are free
 *      some    at least one slot is free
 *
 * Equation: the maps say what @free says (clusters_check).
 */
#ifndef ANONMM_CLUSTERS_H
#define ANONMM_CLUSTERS_H

#include "base/base.h"

#define SWAP_CLUSTER 256 /* slots: 1 MiB, the largest write */

enum cluster_fill { CLUSTER_WHOLE, CLUSTER_HALF, CLUSTER_SOME, CLUSTER_FILLS };

/* Locks: all [L]. [I] set once */
struct clusters {
	uint32_t nr; /* [I] clusters */
	uint32_t nr_slots; /* [I] the last cluster may be shorter */
	uint16_t *free; /* [I] the array, [L] its words: free slots of each cluster */
	uint64_t *map[CLUSTER_FILLS]; /* [I] the array, [L] its words: a bit for each cluster */
	uint64_t *words[CLUSTER_FILLS]; /* [I] the array, [L] its words: a bit for each word of the map */
};

#define NO_CLUSTER UINT32_MAX

/*
 * clusters_bytes(): how much zeroed memory @nr_slots slots need. clusters_init(): use that memory; all slots are free.
 */
size_t clusters_bytes(uint32_t nr_slots);
void clusters_init(struct clusters *c, uint32_t nr_slots, void *memory);

/* How many slots the cluster has: SWAP_CLUSTER, except in the last one. */
uint32_t cluster_slots(const struct clusters *c, uint32_t cluster);

/* One slot of the cluster is taken; one is free again. */
void cluster_take(struct clusters *c, uint32_t cluster);
void cluster_give(struct clusters *c, uint32_t cluster);

/*
 * The first cluster behind @from that reaches @fill, among the first @end clusters. After the last one the search goes
 * on at 0; @from itself comes last. NO_CLUSTER: there is none.
 */
uint32_t cluster_next(const struct clusters *c, enum cluster_fill fill, uint32_t from, uint32_t end);

/* For the validator: does the equation hold? */
bool clusters_check(const struct clusters *c);

#endif
