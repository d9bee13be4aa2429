/* SPDX-License-Identifier: MIT */
/* A compressed store in front of another device: what the core tells the policy of its share (contract/policy.h). */
#ifndef ANONMM_TIERS_H
#define ANONMM_TIERS_H

#include "base/pte.h"

struct pager;
struct swap_area;

/* The most frames that the store of @area may have. UINT32_MAX: no device stands behind it. => pager lock held */
uint32_t tier_most(struct pager *pager, struct swap_area *area);

/*
 * Somebody waits for the page of slot @entry, which left memory @distance pages ago. Count this for the policy. true:
 * the page came from the device behind, and would still be in the store had it been put there. Then it must be written
 * anew when it leaves memory. => pager lock held
 */
bool tier_refault(struct pager *pager, swp_entry_t entry, uint32_t distance);

#endif
