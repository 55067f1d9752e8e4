// Carries each plain connection to a back end over TLS, for Node.js 0.8 (OpenSSL 1.0.0), which still has SSLv2 and SSLv3.
// Arguments: address port backendAddress backendPort secureProtocol
var net = require('net');
var tls = require('tls');

var args = process.argv.slice(2);
var options = {
  secureProtocol: args[4],
  ciphers: 'ALL:COMPLEMENTOFALL',
  rejectUnauthorized: false
};
// No server name: with an extension in it the hello could not have SSLv2's format.

var server = net.createServer({ allowHalfOpen: true }, function (client) {
  function end() { client.destroy(); }
  function finish() { client.end(); }
  client.on('error', end);
  // Nobody is connected to for a client that says nothing.
  client.once('data', function (first) {
    client.pause();
    var socket = net.connect(Number(args[3]), args[2]);
    options.socket = socket;
    var back = tls.connect(options, function () {
      back.write(first);
      client.pipe(back);
      back.pipe(client);
      client.resume();
    });
    back.on('error', end);
    back.on('close', end);
    // TLS of this age does not always tell of the end of what it lies on.
    back.on('end', finish);
    socket.on('end', finish);
    socket.on('error', end);
    socket.on('close', finish);
  });
});
// This old runtime lets some errors of broken connections escape as uncaught.
process.on('uncaughtException', function (error) {
  if (error.code === 'EADDRINUSE') { console.error(error.stack); process.exit(1); }
});
server.listen(Number(args[1]), args[0]);
