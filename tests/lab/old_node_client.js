// A TLS client for Node.js 0.8 and 0.10: completes one handshake with one fixed version, or fails.
// Arguments: address port secureProtocol ciphers serverName
var tls = require('tls');

var args = process.argv.slice(2);
var options = {
  host: args[0],
  port: Number(args[1]),
  secureProtocol: args[2],
  ciphers: args[3],
  rejectUnauthorized: false
};
if (args[4]) options.servername = args[4];

function refuse(why) {
  console.log('refused: ' + why);
  process.exit(0);
}
process.on('uncaughtException', function (error) { refuse(error.message); });
setTimeout(function () { refuse('nothing in 5 s'); }, 5000);
var stream = tls.connect(options, function () {
  console.log('accepted: ' + args[2] + ' ' + stream.getCipher().name);
  process.exit(0);
});
stream.on('error', function (error) { refuse(error.message); });
stream.on('close', function () { refuse('closed'); });
stream.on('end', function () { refuse('closed'); });
