# SPDX-License-Identifier: MIT
# packages: redis-server redis-tools python3
# commands: redis-server redis-cli redis-benchmark
# does: 17 000 keys of all types, BGSAVE under load, kill -9, restart from the dump, all keys compared
# version: redis-server --version
. "$(dirname "$0")/common.sh"

prepare() {
	cat >"$input/load.py" <<'PY'
# Commands in redis' protocol: the same for every run.
import random, sys
chance = random.Random(3)
def send(*words):
    out = b"*%d\r\n" % len(words)
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        out += b"$%d\r\n%s\r\n" % (len(word), word)
    sys.stdout.buffer.write(out)
for n in range(14000):
    send("SET", f"text:{n}", bytes([33 + n % 90]) * chance.randrange(20, 900))
for n in range(16000):
    send("HSET", f"hash:{n % 4000}", f"field {n}", "v" * (n % 300))
for n in range(16000):
    send("RPUSH", f"list:{n % 3000}", n)
    send("ZADD", f"zset:{n % 3000}", n * 7919 % 10007, f"member {n}")
for n in range(3000):
    send("DEL", f"text:{n * 3}")
PY
	python3 "$input/load.py" >"$input/load"
}

cli() { redis-cli -s "$work/socket" "$@"; }

start() {
	redis-server --port 0 --unixsocket "$work/socket" --dir "$work" --save '' --enable-debug-command local --daemonize no --loglevel warning >>log &
	server=$!
	wait_until 20 cli ping
	until [ "$(cli ping)" = PONG ]; do sleep 0.1; done # LOADING is answered too
}

work() {
	cd "$work"
	start
	cli --pipe <"$input/load" >loaded
	grep -q 'errors: 0' loaded || die "load: $(cat loaded)"
	cli DBSIZE
	cli BGSAVE >/dev/null
	redis-benchmark -q -s "$work/socket" -n 3000 -c 10 -r 1000 -d 100 SET bench:__rand_int__ x >bench 2>&1
	wait_until 60 saved
	[ "$(cli INFO persistence | tr -d '\r' | sed -n 's/^rdb_last_bgsave_status://p')" = ok ] || die "BGSAVE failed"
	cli --scan --pattern 'bench:*' | xargs -r redis-cli -s "$work/socket" DEL >/dev/null
	cli DBSIZE
	digest
	kill -9 $server
	wait $server || true
	start
	cli --scan --pattern 'bench:*' | xargs -r redis-cli -s "$work/socket" DEL >/dev/null
	echo "restarted $(cli DBSIZE)"
	digest
	cli SHUTDOWN NOSAVE >/dev/null 2>&1 || true
	wait $server
}

saved() { cli INFO persistence | grep -q '^rdb_bgsave_in_progress:0'; }

# Of all keys and values, whatever the order of its tables.
digest() { cli DEBUG DIGEST; }

matrix "$@"
