#!/bin/sh
# SPDX-License-Identifier: MIT
# A run that cannot work is refused before the program starts, with the right status and a message that helps.
. "$(dirname "$0")/../common.sh"

# refused STATUS WORDS OPTION...: the message has WORDS (an extended regular expression), the program did not start.
refused() {
	expected=$1 words=$2
	shift 2
	"$ANONMM" run "$@" >"$work/out" 2>"$work/errors" </dev/null
	got=$?
	[ $got -eq "$expected" ] || fail "'$*': exit status $got instead of $expected: $(cat "$work/errors")"
	grep -Eq "$words" "$work/errors" || fail "'$*': no '$words' in: $(cat "$work/errors")"
	[ ! -s "$work/out" ] || fail "'$*': something was started: $(cat "$work/out")"
	[ "$(wc -l <"$work/errors")" -le 2 ] || fail "'$*': more than a line or two: $(cat "$work/errors")"
}

refused 125 'no program' 
refused 125 'no program' --memory 64M
refused 125 'unrecognized option' --no-such-option -- echo started
refused 125 'requires an argument' --memory
for size in 1K 4095K 0 0%; do
	refused 125 '4 MiB|not a size' --memory $size -- echo started
done
for size in '' -1 x 12Q 64M64 1e9 ' 64M' 101% %; do
	refused 125 'not a size' --memory "$size" -- echo started
done
refused 125 'too large|not a size' --memory 99999999999999999999G -- echo started
refused 125 'not a size' --memory 64M --memory-max lots -- echo started
refused 125 'less than the limit' --memory 64M --memory-max 32M -- echo started
refused 125 'native or fail' --fallback maybe -- echo started
refused 125 'auto, thread or signal' --faults maybe -- echo started
refused 125 'swap device' --swap nonsense -- echo started
refused 125 'swap device' --swap quux:/tmp -- echo started
refused 125 'swap device' --swap 'file:/var/tmp?size=many' -- echo started
refused 125 'swap device' --swap 'file:/var/tmp?colour=red' -- echo started
refused 125 'No such file|cannot make' --swap file:/no/such/place?size=64M -- echo started
refused 125 'swap device' --swap 'file:/var/tmp?size=100000T' -- echo started
refused 125 'cannot be written' --stats=/no/such/place -- echo started
refused 127 'not found' -- no-such-program-anywhere
refused 127 'not found' -- /no/such/program
refused 126 'cannot be run' -- /etc/passwd
refused 126 'cannot be run' -- /tmp

if command -v gcc >/dev/null; then
	echo 'int main(void) { return 0; }' >"$work/t.c"
	if gcc -static -o "$work/static" "$work/t.c" 2>/dev/null; then
		refused 125 'static' -- "$work/static"
		printf '#!%s\n' "$work/static" >"$work/by-static" && chmod +x "$work/by-static"
		refused 125 'static' -- "$work/by-static"
	fi
	gcc -o "$work/setuid" "$work/t.c" && chmod u+s "$work/setuid"
	refused 125 'setuid' -- "$work/setuid"
	gcc -o "$work/setgid" "$work/t.c" && chmod g+s "$work/setgid"
	refused 125 'setgid' -- "$work/setgid"
	# As the Go linker marks what it makes. Started by a managed program it runs, unmanaged.
	cat >"$work/go.c" <<'C'
__asm__(".pushsection .note.go.buildid,\"a\",@note; .long 4,4,4; .ascii \"Go\\0\\0idid\"; .popsection");
int main(void) { return 42; }
C
	gcc -o "$work/go" "$work/go.c"
	refused 125 'a Go program' -- "$work/go"
	"$ANONMM" run -- sh -c "$work/go; exit \$?"
	[ $? -eq 42 ] || fail "a Go program that a managed shell starts"
fi
printf '\177ELF\001\001\001' >"$work/old" && head -c 200 /dev/zero >>"$work/old" && chmod +x "$work/old"
refused 125 '64-bit' -- "$work/old"
printf '#!/no/such/interpreter\n' >"$work/script" && chmod +x "$work/script"
refused 126 'interpreter' -- "$work/script"
ANONMM_PRELOAD=/no/such/library refused 125 'libanonmm-preload.so' -- echo started

"$ANONMM" >"$work/out" 2>&1
[ $? -eq 125 ] || fail "without a command: exit status was not 125"
"$ANONMM" fly >"$work/out" 2>&1
[ $? -eq 125 ] || fail "an unknown command: exit status was not 125"
grep -q "no command 'fly'" "$work/out" || fail "an unknown command: $(cat "$work/out")"
for help in --help 'doctor --help' 'limit --help' 'ps --help' 'stat --help' 'run --help' 'walk --help' --version; do
	# shellcheck disable=SC2086
	"$ANONMM" $help >"$work/out" 2>"$work/errors" || fail "$help: $?"
	[ -s "$work/out" ] || fail "$help says nothing"
	[ ! -s "$work/errors" ] || fail "$help: $(cat "$work/errors")"
done
finish
