// One handshake by Node.js 0.8 or 0.10: old_node.js ADDRESS PORT NAME METHOD NO_X,NO_Y (- for none)
var constants = require('constants');
var tls = require('tls');

var args = process.argv.slice(2);
var secureOptions = 0;
args[4].split(',').forEach(function (name) {
  if (name === '-') return;
  var bit = constants['SSL_OP_' + name];
  // A misspelt option would silently enable a version.
  if (!bit) throw new Error('unknown option ' + name);
  secureOptions |= bit;
});

function end(text) {
  console.log(text);
  process.exit(0);
}
process.on('uncaughtException', function (error) { end('failed: ' + error.message); });
setTimeout(function () { end('failed: nothing in 10 s'); }, 10000);
var options = {
  host: args[0],
  port: Number(args[1]),
  servername: args[2],
  secureProtocol: args[3],
  ciphers: 'ALL',
  rejectUnauthorized: false
};
if (secureOptions) options.secureOptions = secureOptions;
var stream = tls.connect(options, function () {
  console.log('completed ' + stream.getCipher().name);
  stream.write('GET / HTTP/1.0\r\n\r\n');
});
stream.on('error', function (error) { end('failed: ' + error.message); });
stream.on('data', function () { end('answered'); });
stream.on('close', function () { end('closed'); });
stream.on('end', function () { end('ended'); });
