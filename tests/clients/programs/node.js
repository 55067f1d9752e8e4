// One handshake by today's Node.js: node.js ADDRESS PORT NAME MIN MAX any|none (what it trusts)
const tls = require('tls');

const [address, port, servername, minVersion, maxVersion, trust] = process.argv.slice(2);

function end(text) {
  console.log(text);
  process.exit(0);
}
setTimeout(() => end('failed: nothing in 10 s'), 10000);
const stream = tls.connect({
  host: address,
  port: Number(port),
  servername,
  minVersion,
  maxVersion,
  ciphers: 'DEFAULT:@SECLEVEL=0',
  ca: trust === 'any' ? undefined : [],
  rejectUnauthorized: trust !== 'any',
}, () => {
  console.log('completed ' + stream.getProtocol());
  stream.write('GET / HTTP/1.0\r\n\r\n');
});
stream.on('error', (error) => end('failed: ' + error.message));
stream.on('data', () => end('answered'));
stream.on('end', () => end('ended'));
stream.on('close', () => end('closed'));
