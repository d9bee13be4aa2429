#!/bin/sh
# SPDX-License-Identifier: MIT
# plants.sh SIM-TREE: each bug that sim-tree can plant is found, and its schedule is printed.
sim=$1
failed=0
for plant in raise-first no-second-look no-reap no-zombies reap-stopped lost-kick first-leads own-limit torn-question lost-question; do
	seeds=200
	case $plant in first-leads | own-limit) seeds=2000 ;; esac # a leader must be stopped at one place, and others go on
	out=$("$sim" --seeds $seeds --plant $plant | grep -a -E '^seed|^the schedule|FAILED')
	case $out in
	*"the schedule of"*FAILED*) echo "found: $plant" ;;
	*) echo "FAILED: $plant is planted and not found" && failed=1 ;;
	esac
done
exit $failed
