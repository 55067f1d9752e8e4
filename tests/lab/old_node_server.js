// A TLS server for Node.js 0.8 (OpenSSL 1.0.0) and 0.10 (OpenSSL 1.0.1), the last ones that speak SSLv2 and SSLv3.
// Arguments: address port secureProtocol "NO_X,NO_Y" ciphers key certificate
var fs = require('fs');
var tls = require('tls');
var constants = require('constants');

var args = process.argv.slice(2);
var secureOptions = 0;
args[3].split(',').filter(Boolean).forEach(function (name) {
  var bit = constants['SSL_OP_' + name];
  // A misspelt option would silently enable a version.
  if (!bit) throw new Error('unknown option ' + name);
  secureOptions |= bit;
});

var server = tls.createServer({
  secureProtocol: args[2],
  secureOptions: secureOptions,
  ciphers: args[4],
  key: fs.readFileSync(args[5]),
  cert: fs.readFileSync(args[6])
}, function (stream) {
  stream.on('error', function () {});
  stream.end('HTTP/1.0 200 OK\r\n\r\nlab\n');
});
server.on('clientError', function () {});
// Scanners break connections in every way; this old runtime lets some of those errors escape as uncaught.
process.on('uncaughtException', function (error) {
  if (error.code === 'EADDRINUSE') { console.error(error.stack); process.exit(1); }
});
server.listen(Number(args[1]), args[0]);
