# SPDX-License-Identifier: MIT
# packages: nginx-light python3
# commands: nginx python3
# does: two workers compress and serve files to 8 clients at a time, are told to reload and to stop
# version: nginx -v
. "$(dirname "$0")/common.sh"

prepare() {
	mkdir -p "$input/files"
	for n in 1 2 3 4 5 6; do seq $((n * 1000)) $((n * 40000)) >"$input/files/$n.txt"; done
	head -c 3000000 /usr/lib/x86_64-linux-gnu/libc.so.6 >"$input/files/binary"
	cat >"$input/clients.py" <<'PY'
import concurrent.futures, hashlib, os, socket, sys, gzip
root, path = sys.argv[1], sys.argv[2]
def get(name):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(path)
    connection.sendall(f"GET /{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n".encode())
    data = b""
    while block := connection.recv(1 << 16):
        data += block
    head, body = data.split(b"\r\n\r\n", 1)
    assert b" 200 " in head.splitlines()[0], head
    if b"chunked" in head:
        whole = b""
        while body:
            size, body = body.split(b"\r\n", 1)
            whole += body[:int(size, 16)]
            body = body[int(size, 16) + 2:]
        body = whole
    if b"Content-Encoding: gzip" in head:
        body = gzip.decompress(body)
    with open(os.path.join(root, name), "rb") as file:
        return body == file.read()
names = sorted(os.listdir(root)) * int(sys.argv[3])
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(len(names), sum(pool.map(get, names)))
PY
}

clients() { python3 "$input/clients.py" "$input/files" "$work/socket" "$1"; }

work() {
	cat >"$work/conf" <<END
daemon off;
worker_processes 2;
pid $work/pid;
error_log $work/errors;
events { worker_connections 128; }
http {
	access_log off;
	client_body_temp_path tmp/a; proxy_temp_path tmp/b; fastcgi_temp_path tmp/c; uwsgi_temp_path tmp/d; scgi_temp_path tmp/e;
	gzip on; gzip_types *; gzip_comp_level 6; gzip_buffers 64 16k; gzip_min_length 100;
	output_buffers 32 64k; sendfile off;
	server { listen unix:$work/socket; root $input/files; }
}
END
	chmod 755 "$work"
	nginx -p "$work" -c "$work/conf" &
	server=$!
	wait_until 20 test -S "$work/socket" -a -s "$work/pid"
	clients 3
	kill -HUP $server
	clients 2
	kill -QUIT $server
	wait $server
	! grep -E 'alert|crit|emerg|signal [0-9]+ \(core' "$work/errors"
}

matrix "$@"
