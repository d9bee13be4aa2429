# SPDX-License-Identifier: MIT
# packages: nodejs
# commands: node
# does: objects, buffers, sorting, worker threads, child processes, a server and its clients
# version: node --version
. "$(dirname "$0")/common.sh"

prepare() {
	cat >"$input/work.js" <<'JS'
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads');
const { createHash } = require('crypto'), { execFileSync, fork } = require('child_process'), net = require('net'), zlib = require('zlib');
function work(seed) {
  const table = new Map();
  for (let i = 0; i < 60000; i++) table.set('key ' + (i * 7919 + seed) % 30011, { n: i, text: 'v'.repeat(i % 60), list: [i, i + 1] });
  const hash = createHash('sha256');
  for (const key of [...table.keys()].sort()) hash.update(key + JSON.stringify(table.get(key)));
  const big = Buffer.alloc(12000000, 'some text ' + seed);
  for (let i = 0; i < big.length; i += 4096) big[i] = i % 251;
  hash.update(zlib.inflateSync(zlib.deflateSync(big, { level: 1 })));
  return hash.digest('hex');
}
if (!isMainThread) parentPort.postMessage(work(workerData));
else if (process.argv[2] === 'child') process.send(work(9), () => process.exit(0));
else main();
async function main() {
  console.log(work(1));
  const results = await Promise.all([2, 3].map(n => new Promise((done, fail) => {
    const worker = new Worker(__filename, { workerData: n });
    worker.on('message', done); worker.on('error', fail);
  })));
  console.log(results);
  console.log(await new Promise(done => fork(__filename, ['child']).on('message', done)));
  console.log(execFileSync('sh', ['-c', 'wc -c'], { input: 'x'.repeat(500000) }).toString().trim());
  const server = net.createServer(socket => socket.pipe(socket));
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  const port = server.address().port;
  console.log(await Promise.all([...Array(6).keys()].map(n => new Promise(done => {
    const socket = net.connect(port, '127.0.0.1'); let got = 0;
    socket.on('data', data => { got += data.length; if (got === 400000) socket.end(); });
    socket.on('close', () => done(got));
    socket.write(Buffer.alloc(400000, n));
  }))));
  server.close();
}
JS
}

work() { node "$input/work.js"; }

matrix "$@"
