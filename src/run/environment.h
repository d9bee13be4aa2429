/* SPDX-License-Identifier: MIT */
/* The environment of a managed program: what the launcher and the program before an exec tell the library. */
#ifndef ANONMM_ENVIRONMENT_H
#define ANONMM_ENVIRONMENT_H

#define ENV_MEMORY "ANONMM_MEMORY" /* the limit, a size, or auto; without it the library manages nothing */
#define ENV_MEMORY_MAX "ANONMM_MEMORY_MAX" /* a size: the limit can be raised no higher */
#define ENV_SWAP "ANONMM_SWAP" /* a device's URI */
#define ENV_FAULTS "ANONMM_FAULTS" /* auto, thread, signal */
#define ENV_COPY "ANONMM_COPY" /* 1: do without UFFDIO_MOVE */
#define ENV_ADDRESS_SPACE "ANONMM_ADDRESS_SPACE" /* a size: of the managed range */
#define ENV_STATS "ANONMM_STATS" /* path of the ledger */
#define ENV_RUN "ANONMM_RUN" /* ID:FD: id of that ledger in hexadecimal, and its inherited descriptor */
#define ENV_OPTIONAL "ANONMM_OPTIONAL" /* 1: a program that cannot be managed runs unmanaged */
#define ENV_CORE "ANONMM_CORE" /* resident: core dumps leave out what is in swap */
#define ENV_OFF "ANONMM_OFF" /* 1: this program, and what it starts, runs unmanaged */

#endif
