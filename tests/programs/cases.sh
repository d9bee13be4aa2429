# SPDX-License-Identifier: MIT
#
# For bad.sh, threads.sh and turns.sh: a program with many cases. Each case runs natively and managed, and its output
# and status must be equal.
#
# $program is the program, which lists its cases when it is called without one. under() may put something around a case.
# SWAP names another swap than a file. MODES names the modes, if not both. SWAPS=no: the cases are about calls, not
# about memory that is out.

under() {
	shift
	"$@"
}

# one NAME: in a directory of its own; what is wrong goes to NAME/wrong.
one() {
	dir=$work/case-$1
	mkdir -m 777 "$dir"
	(
		under "$1" timeout -k 5 60 "$program" "$1"
	) >"$dir/expected" 2>"$dir/expected-said"
	expected=$?
	for mode in ${MODES-thread signal}; do
		(
			under "$1" timeout -k 5 60 "$ANONMM" run --memory 8M --swap "${SWAP:-file:$dir?size=256M}" --faults $mode \
				--json --stats="$dir/stats" -- "$program" "$1"
		) >"$dir/out" 2>"$dir/said"
		status=$?
		if [ $status -eq $expected ] && cmp -s "$dir/expected" "$dir/out"; then
			continue
		fi
		{
			echo "$1, $mode: status $status, natively $expected; printed:"
			diff "$dir/expected" "$dir/out" | head -n 5
			head -n 5 "$dir/said"
		} >>"$dir/wrong"
	done
}

# all_cases [EXCEPT...]: some at a time.
all_cases() {
	nr=0
	for name in $("$program"); do
		case " $* " in *" $name "*) continue ;; esac
		one "$name" &
		nr=$((nr + 1))
		[ $((nr % 4)) -ne 0 ] || wait
	done
	wait
	[ $nr -gt 0 ] || fail "no case at all"
	[ "${SWAPS-}" = no ] || grep -qs '"total": {.*"swapped_out": [1-9]' "$work"/case-*/stats ||
		fail "no case swapped anything out: nothing was tested"
	for wrong in "$work"/case-*/wrong; do
		[ -e "$wrong" ] && fail "$(cat "$wrong")"
	done
}
