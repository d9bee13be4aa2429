# SPDX-License-Identifier: MIT
# packages: python3 python3-numpy
# commands: python3
# does: numpy arrays, multiprocessing (fork and spawn), subprocess, asyncio, threads
# version: /usr/bin/python3 --version
. "$(dirname "$0")/common.sh"

prepare() {
	/usr/bin/python3 -c 'import numpy' 2>/dev/null || die "python3-numpy is not installed"
	cat >"$input/work.py" <<'PY'
import asyncio, concurrent.futures, hashlib, multiprocessing, subprocess, sys
import numpy

def digest(data):
    return hashlib.sha256(data).hexdigest()

def part(seed):
    array = numpy.random.default_rng(seed).integers(0, 1 << 30, 700000)
    array.sort()
    return seed, digest(array.tobytes())

def arrays():
    matrix = numpy.arange(1500 * 1500, dtype=numpy.float64).reshape(1500, 1500) % 977
    print(digest((matrix + matrix.T).tobytes()), int((matrix[:300, :300] @ matrix[:300, :300]).sum()))
    print(numpy.cumsum(matrix, axis=1)[-1, -1])

def pools():
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, pool.map(part, range(4)))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        print("threads", list(pool.map(part, range(3))))

async def child(number):
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", f"import sys; print(len(sys.stdin.read()) + {number})",
                                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = await process.communicate(b"z" * 300000)
    return out.decode().strip(), process.returncode

async def serve(count):
    async def answer(reader, writer):
        data = await reader.readexactly(200000)
        writer.write(data[::-1])
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async def ask(number):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        data = bytes([number]) * 100000 + b"end" * 33333 + b"!"
        writer.write(data)
        got = await reader.readexactly(200000)
        writer.close()
        return got == data[::-1]
    results = await asyncio.gather(*(ask(n) for n in range(count)), *(child(n) for n in range(3)))
    server.close()
    print(results)

def subprocesses():
    print(subprocess.run(["sort", "-n"], input="\n".join(str(n * 7919 % 10007) for n in range(10000)), text=True,
                         capture_output=True, check=True).stdout[-20:].split())
    print(subprocess.run("exit 7", shell=True).returncode)

if __name__ == "__main__":
    keep = {n: [str(n), n * 2] for n in range(60000)}
    arrays()
    pools()
    asyncio.run(serve(8))
    subprocesses()
    print(digest(repr(sorted(keep.items())).encode()))
PY
}

work() { /usr/bin/python3 "$input/work.py"; }

matrix "$@"
