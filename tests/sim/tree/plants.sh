#!/bin/sh
# SPDX-License-Identifier: MIT
# plants.sh SIM-TREE: each bug that sim-tree can plant is found, and its schedule is printed.
sim=$1
failed=0
# Most are found in 200 seeds. For some a leader must be stopped at one place, while others go on.
for plant in raise-first no-second-look no-reap no-zombies reap-stopped lost-kick first-leads own-limit torn-question lost-question; do
	found=
	for from in 1 201 401 601 801 1001 1201 1401 1601 1801; do
		out=$("$sim" --seeds 200 --from $from --plant $plant | grep -a -E '^seed|^the schedule|FAILED')
		case $out in
		*"the schedule of"*FAILED*) found=yes && break ;;
		esac
	done
	if [ -n "$found" ]; then
		echo "found: $plant"
	else
		echo "FAILED: $plant is planted and not found" && failed=1
	fi
done
exit $failed
